-- Take ids whose connection is gone, or cannot be read, out of a set.
-- KEYS: 1 connections, 2 the set
-- ARGV: 1 the command that removes a member: SREM or ZREM, then the ids
-- Returns how many were taken out.

-- include: collect_record

local removed = 0
for i = 2, #ARGV do
  if not is_there(ARGV[i]) then
    removed = removed + redis.call(ARGV[1], KEYS[2], ARGV[i])
  end
end
return removed
