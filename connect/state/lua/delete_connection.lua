-- Remove a connection from the map and every index, with the groups that it leaves empty;
-- what is written for it later comes to nothing.
-- KEYS: 1 and 2 as in indexes, 3 tombstone of the connection
-- ARGV: 1 to 4 as in indexes, 5 connection id, 6 prefix of groups' connections,
--       7 prefix of apps' connections, 8 lifetime of the tombstone (ms), 9 how long the time
--       of creation of an emptied group is kept (ms)
-- Returns 1, or 0 if the connection was not stored.

-- include: capacity_set
-- include: indexes
-- include: remove_connection

redis.call('SET', KEYS[3], '', 'PX', ARGV[8])
local stored = redis.call('HGET', KEYS[1], ARGV[5])
if not stored then
  forget_worker(ARGV[5])
  return 0
end
remove_connection(ARGV[5], stored, ARGV[6], ARGV[7], ARGV[9])
return 1
