-- Returns how much of a budget is taken, and reservations that have expired.
-- KEYS: life, total, open. ARGV: token, now, at most so many.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then return {'load'} end
local doubtful = redis.call('ZRANGE', KEYS[3], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
if #doubtful > 0 then return {'settle', doubtful} end
return {'ok', redis.call('HGET', KEYS[2], 'taken')}
