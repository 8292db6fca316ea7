-- Overwrite a stored connection after a heartbeat or a change of status; never create one.
-- KEYS: 1 connections, 2 groups, 3 workers by connection
-- ARGV: 1 to 9 as in connection_index, then pairs of app id and group hash: the synced ones
-- Returns 1, or 0 if the connection is not stored.

-- include: connection_index

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
for i = 10, #ARGV, 2 do
  index_connection(ARGV[i], ARGV[i + 1])
end
return 1
