-- Find out anew whether busy workers are; those without limit or requests leave the set.
-- KEYS: 1 and 2 as in indexes
-- ARGV: 1 to 4 as in indexes, then worker hashes
-- Returns how many left it.

-- include: capacity_set
-- include: indexes

local left = 0
for i = 5, #ARGV do
  if redis.call('ZSCORE', busy, ARGV[i]) then
    settle(ARGV[i])
    if not redis.call('ZSCORE', busy, ARGV[i]) then
      left = left + 1
    end
  end
end
return left
