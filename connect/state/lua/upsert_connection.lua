-- Store a connection, its groups, and its place in every index.
-- KEYS: 1 connections, 2 groups, 3 workers by connection
-- ARGV: 1 to 9 as in connection_index, 10 prefix of groups' connections,
--       11 prefix of apps' connections, 12 JSON: hashes of all groups,
--       13 JSON: [app id, group hash] of the synced ones,
--       14 JSON: groups to store, each {hash, json, created_at, app_id, sync_id,
--          feature_observations_hash}, where json lacks the fields that follow it here
-- Returns 1.

-- include: connection_index

-- These are kept from the stored group where the new one has none; created_at always.
local MERGED = { 'app_id', 'sync_id', 'feature_observations_hash', 'created_at' }

local function store_group(group)
  local stored = redis.call('HGET', KEYS[2], group.hash)
  local ok, old = pcall(cjson.decode, stored or '{}')
  local readable = ok and type(old) == 'table'
  local changed = not stored or not readable
  local text = string.sub(group.json, 1, -2)
  for _, name in ipairs(MERGED) do
    local value = group[name]
    local before = readable and old[name]
    if type(before) ~= 'string' then
      before = ''
    end
    if before ~= '' and (value == '' or name == 'created_at') then
      value = before
    end
    changed = changed or value ~= before
    if value ~= '' or name == 'created_at' then
      text = text .. ',"' .. name .. '":' .. cjson.encode(value)
    end
  end
  if changed then
    redis.call('HSET', KEYS[2], group.hash, text .. '}')
  end
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
for _, group in ipairs(cjson.decode(ARGV[14])) do
  store_group(group)
end
for _, group in ipairs(cjson.decode(ARGV[12])) do
  redis.call('SADD', ARGV[10] .. group, ARGV[1])
end
for _, synced in ipairs(cjson.decode(ARGV[13])) do
  redis.call('SADD', ARGV[11] .. synced[1], ARGV[1])
  index_connection(synced[1], synced[2])
end
return 1
