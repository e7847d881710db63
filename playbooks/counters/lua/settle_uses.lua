-- Gives uses the state that the journal has, unless they were changed since they were looked at.
-- KEYS: life, uses. ARGV: token, then field, value as seen, value to be ('' when gone) of each.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
for i = 2, #ARGV, 3 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
    if ARGV[i + 2] == '' then
      redis.call('HDEL', KEYS[2], ARGV[i])
    else
      redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
    end
  end
end
return {'ok'}
