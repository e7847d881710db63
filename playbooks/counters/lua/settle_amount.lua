-- Gives reservations the state that the journal has, unless they were changed since they were looked at.
-- KEYS: life, total, open. ARGV: token, then decision, end as seen, and committed, gone or its new end.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
for i = 2, #ARGV, 3 do
  local decision, state = ARGV[i], ARGV[i + 2]
  local ends = redis.call('ZSCORE', KEYS[3], decision)
  if ends and tonumber(ends) == tonumber(ARGV[i + 1]) then
    if state == 'gone' or state == 'committed' then
      if state == 'gone' then
        local amount = redis.call('HGET', KEYS[2], '=' .. decision)
        redis.call('HINCRBY', KEYS[2], 'taken', '-' .. amount)
      end
      redis.call('HDEL', KEYS[2], '=' .. decision)
      redis.call('ZREM', KEYS[3], decision)
    else
      redis.call('ZADD', KEYS[3], state, decision)
    end
  end
end
return {'ok'}
