-- Remove a group without connections.
-- KEYS: 1 and 2 as in indexes, 3 connections of the group
-- ARGV: 1 to 4 as in indexes, 5 group hash, 6 id of an app that lists the group, or '',
--       7 how long the group's time of creation is kept (ms)
-- Returns 1 if it was removed, 0 if it has connections, -1 if its record cannot be read.

-- include: capacity_set
-- include: indexes
-- include: remove_connection
-- include: collect_record

local stored = redis.call('HGET', KEYS[2], ARGV[5])
if stored and not is_readable(stored) then
  return -1
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
local apps = {}
if ARGV[6] ~= '' then
  apps[ARGV[6]] = ARGV[5]
end
remove_group(ARGV[5], apps, ARGV[7])
return 1
