-- In whatever epoch, lets the journal be asked about a decision's uses when somebody needs the room.
-- KEYS: life, uses. ARGV: any token, decision.
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  if string.match(all[i], '^(.-)\31') == ARGV[2] then
    local used, ends = string.match(all[i + 1], '^(%-?%d+) (%-?%d*)$')
    if ends ~= '' then redis.call('HSET', KEYS[2], all[i], used .. ' 0') end
  end
end
return {'ok'}
