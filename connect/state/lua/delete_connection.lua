-- Remove a connection from the map and every index, with the groups that it leaves empty.
-- KEYS: 1 connections, 2 groups, 3 workers by connection
-- ARGV: 1 connection id, 2 prefix of groups' connections, 3 prefix of apps' connections,
--       4 prefix of ready sets, 5 prefix of the apps' groups, 6 prefix of the groups' functions
-- Returns 1, or 0 if the connection was not stored.

local id = ARGV[1]

local function decode(text)
  local ok, value = pcall(cjson.decode, text or '')
  return ok and type(value) == 'table' and value or {}
end

local function map(value)
  return type(value) == 'table' and value or {}
end

local function forget_group(app, group)
  redis.call('HDEL', ARGV[5] .. app, group)
  redis.call('DEL', ARGV[4] .. app .. ':' .. group)
end

local stored = redis.call('HGET', KEYS[1], id)
redis.call('HDEL', KEYS[3], id)
if not stored then
  return 0
end
redis.call('HDEL', KEYS[1], id)

local connection = decode(stored)
local synced = map(connection.synced_worker_groups)
local groups = {}
for _, group in pairs(map(connection.all_worker_groups)) do
  groups[group] = true
end
for app, group in pairs(synced) do
  groups[group] = true
  redis.call('SREM', ARGV[3] .. app, id)
  redis.call('ZREM', ARGV[4] .. app .. ':' .. group, id)
end
for group in pairs(groups) do
  redis.call('SREM', ARGV[2] .. group, id)
  if redis.call('SCARD', ARGV[2] .. group) == 0 then
    local record = decode(redis.call('HGET', KEYS[2], group))
    redis.call('HDEL', KEYS[2], group)
    redis.call('DEL', ARGV[6] .. group)
    if type(record.app_id) == 'string' then
      forget_group(record.app_id, group)
    end
    for app, other in pairs(synced) do
      if other == group then
        forget_group(app, group)
      end
    end
  end
end
return 1
