-- Forget the workers of connections that are gone or cannot be read.
-- KEYS: 1 and 2 as in indexes
-- ARGV: 1 to 4 as in indexes, then connection ids
-- Returns of how many.

-- include: capacity_set
-- include: indexes
-- include: collect_record

local forgotten = 0
for i = 5, #ARGV do
  if not is_there(ARGV[i]) and worker_of(ARGV[i]) then
    forget_worker(ARGV[i])
    forgotten = forgotten + 1
  end
end
return forgotten
