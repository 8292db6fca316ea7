-- Keep a worker's response for its executor; the first write wins.
-- KEYS: 1 buffered response, 2 lease, 3 worker of the request, 4 mark of an abandoned request
-- ARGV: 1 response, 2 lifetime (ms), 3 instance id of the sender or '', 4 '1' if the sender is
--       known to run the request
-- Returns {outcome, lease JSON or nil}; outcomes: first, again, late (the request is over, or
--       never was), foreign (another worker has it).
-- Without a lease nobody waits, unless the lease was lost with the rest of the data: the one who
-- runs the request is believed then, and only then. While there is a lease, it is whoever has that.

-- include: lease_record

local stored = redis.call('GET', KEYS[2])
local running = ARGV[4] == '1'

local function holder()
  local mapped = redis.call('GET', KEYS[3])
  if mapped then
    return mapped
  end
  local lease = stored and read_lease(KEYS[2])
  return lease and type(lease.workerID) == 'string' and lease.workerID or ''
end

if ARGV[3] ~= '' and (stored or not running) then
  local instance = holder()
  if instance ~= '' and instance ~= ARGV[3] then
    return { 'foreign', stored }
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return { 'again', stored }
end
if not stored and (not running or redis.call('EXISTS', KEYS[4]) == 1) then
  local mark = redis.call('GET', KEYS[4])
  if mark and string.match(mark, '^%d+ (.+)$') == ARGV[3] then
    -- Its worker runs it no more: whoever asks for it again need not wait.
    redis.call('SET', KEYS[4], '0', 'KEEPTTL')
  end
  return { 'late', stored }
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 'first', stored }
