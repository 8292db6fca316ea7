-- Take ids whose connection is gone, or elsewhere, out of a place; and the place off the
-- list when it is empty.
-- KEYS: 1 and 2 as in indexes
-- ARGV: 1 to 4 as in indexes, 5 app id, 6 group hash, 7 gateway id, then connection ids
-- Returns how many were taken out.

-- include: capacity_set
-- include: indexes
-- include: collect_record

local app, group, gateway = ARGV[5], ARGV[6], ARGV[7]
local removed = 0
for i = 8, #ARGV do
  local connection = is_there(ARGV[i]) and read_connection(ARGV[i])
  if
    not connection
    or connection.gateway ~= gateway
    or connection.groups[app] ~= group
  then
    leave_place(ARGV[i], app, group, gateway)
    removed = removed + 1
  end
end
leave_place('', app, group, gateway)
return removed
