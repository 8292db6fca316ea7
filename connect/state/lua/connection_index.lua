-- Included by upsert_connection and refresh_connection: our own indexes, from which a
-- connection is chosen. Both scripts begin with these:
-- KEYS: 1 connections, 2 groups, 3 workers by connection
-- ARGV: 1 connection id, 2 connection JSON, 3 '1' if READY, 4 heartbeat (unix ms),
--       5 worker hash, 6 prefix of ready sets, 7 prefix of the apps' groups,
--       8 prefix of the groups' functions, 9 heartbeats up to this (unix ms) are garbage

-- Put a synced group back into the indexes, from its JSON.
local function index_group(app, group)
  local ok, record = pcall(cjson.decode, redis.call('HGET', KEYS[2], group) or '')
  if not ok or type(record) ~= 'table' then
    return
  end
  redis.call('HSET', ARGV[7] .. app, group, tostring(record.created_at or ''))
  if type(record.fns) == 'table' then
    for _, slug in ipairs(record.fns) do
      redis.call('SADD', ARGV[8] .. group, slug)
    end
  end
end

local function index_connection(app, group)
  local ready = ARGV[6] .. app .. ':' .. group
  if ARGV[3] ~= '1' then
    redis.call('ZREM', ready, ARGV[1])
    return
  end
  redis.call('ZREMRANGEBYSCORE', ready, '-inf', ARGV[9])
  redis.call('ZADD', ready, ARGV[4], ARGV[1])
  if
    redis.call('HEXISTS', ARGV[7] .. app, group) == 0
    or redis.call('EXISTS', ARGV[8] .. group) == 0
  then
    index_group(app, group)
  end
end
