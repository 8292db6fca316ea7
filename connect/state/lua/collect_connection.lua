-- Remove a connection without heartbeats, unless one came meanwhile. There is no tombstone:
-- should the connection live after all, its next heartbeat brings it back.
-- KEYS: 1 and 2 as in indexes
-- ARGV: 1 to 4 as in indexes, 5 connection id, 6 prefix of groups' connections, 7 prefix of
--       apps' connections, 8 how long the time of creation of an emptied group is kept (ms),
--       9 the last heartbeat up to which a connection is garbage (unix ms)
-- Returns 1 if it was removed, 0 if it is none of that, -1 if its record cannot be read.

-- include: capacity_set
-- include: indexes
-- include: remove_connection
-- include: collect_record

local stored = redis.call('HGET', KEYS[1], ARGV[5])
if not stored then
  return 0
end
if not is_readable(stored) then
  return -1
end
if parse_connection(ARGV[5], stored).heartbeat > tonumber(ARGV[9]) then
  return 0
end
remove_connection(ARGV[5], stored, ARGV[6], ARGV[7], ARGV[8])
return 1
