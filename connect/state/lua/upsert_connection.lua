-- Store a connection, its groups, and its place in every index.
-- KEYS: 1 and 2 as in indexes, 3 tombstone of the connection
-- ARGV: 1 to 4 as in indexes, 5 connection id, 6 worker hash, 7 connection JSON,
--       8 '1' to clear the tombstone, 9 when to read the record again unless a heartbeat
--       comes (unix ms), 10 prefix of groups' connections, 11 prefix of apps' connections,
--       12 how long the time of creation of an emptied group is kept (ms), 13 JSON: groups
--          to store, each {hash, json, created_at, app_id, sync_id,
--          feature_observations_hash}, where json lacks the fields that follow it here
-- Returns 1, or 0 if the connection was deleted: then nothing is stored.

-- include: capacity_set
-- include: indexes
-- include: remove_connection

-- These are kept from the stored group where the new one has none; created_at always.
local MERGED = { 'app_id', 'sync_id', 'feature_observations_hash', 'created_at' }

local function store_group(group)
  local stored = redis.call('HGET', KEYS[2], group.hash)
  local old = decode(stored)
  local changed = not stored or not old.hash
  local before_loss = index .. 'created:' .. group.hash
  local json = string.sub(group.json, 1, -2)
  if changed then
    old = { created_at = redis.call('GET', before_loss) }
    redis.call('DEL', before_loss)
  end
  for _, name in ipairs(MERGED) do
    local value, before = group[name], text(old[name])
    if before ~= '' and (value == '' or name == 'created_at') then
      value = before
    end
    changed = changed or value ~= before
    if value ~= '' or name == 'created_at' then
      json = json .. ',"' .. name .. '":' .. cjson.encode(value)
    end
  end
  if changed then
    redis.call('HSET', KEYS[2], group.hash, json .. '}')
  end
end

local id = ARGV[5]
if ARGV[8] == '1' then
  redis.call('DEL', KEYS[3])
elseif redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end

local connection = parse_connection(id, ARGV[7])
local before = read_connection(id)
if before then
  leave_lists(before, connection, ARGV[10], ARGV[11], ARGV[12])
end
forget_worker(id)
redis.call('HSET', KEYS[1], id, ARGV[7])
for _, group in ipairs(cjson.decode(ARGV[13])) do
  store_group(group)
end
for group in pairs(groups_of(connection)) do
  redis.call('SADD', ARGV[10] .. group, id)
  redis.call('SADD', index .. 'groups', group)
end
for app in pairs(connection.groups) do
  redis.call('SADD', ARGV[11] .. app, id)
end
index_connection(connection, ARGV[6], tonumber(ARGV[9]))
if redis.call('ZSCORE', busy, ARGV[6]) then
  settle(ARGV[6])
end
return 1
