#!lua
-- Take an amount from every limit, or nothing from any.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id  4 cap  5 least cap  6 note  7 tenant
--       then per limit: kind  measure  fixed  each  limit  width  count  name
--         w  sliding window    width = ms per bucket, count = buckets
--         p  calendar period   width = day | month
--         c  concurrency       held until settled or until the lease ends
--       The amount of a limit is fixed + cap * each. A calendar limit with less room lowers the
--       cap, but not below the least; a sliding one must have room for the whole.
-- Returns {1, now, reset, cap, used…}     taken; the cap, and what each limit now has in use
--         {0, now, reset, limit, wait, used…}  refused; the limit to wait for longest, and ms
--         {2, now, reset}                 this id has ended already
-- An id that is open is answered as at first, and nothing more is taken.

local id, lease = ARGV[3], tonumber(ARGV[2])
local cap, least = tonumber(ARGV[4]), tonumber(ARGV[5])
local now, reset = clock(KEYS[3], KEYS[2], ARGV[1], lease)
if redis.call('EXISTS', KEYS[4]) == 1 then return {2, now, reset} end

local look, wait, take = {}, {}, {}

function look.w(l)
  l.window = window(l.key, tonumber(l.width), l.count, now)
  return l.window.sum
end

function look.p(l)
  l.period, l.ends = period(l.width, now)
  local got = redis.call('HMGET', l.key, 's' .. text(l.period), 'r' .. text(l.period))
  l.fresh = not got[1]
  return tonumber(got[1] or '0') + tonumber(got[2] or '0')
end

function look.c(l)
  redis.call('ZREMRANGEBYSCORE', l.key, '-inf', text(now))
  return redis.call('ZCARD', l.key)
end

function wait.w(l)                       -- until enough of the oldest buckets have left
  local w, left = l.window, l.used + l.amount - l.limit
  for bucket = w.oldest, w.newest do
    left = left - tonumber(redis.call('HGET', l.key, text(bucket)) or '0')
    if left <= 0 then return (bucket + w.count + 1) * w.width - now end
  end
  return w.count * w.width               -- not reached: an amount never exceeds its limit
end

function wait.p(l) return l.ends - now end

function wait.c(l)                       -- an estimate; leases of a clock given up end in time
  for _, held in ipairs(redis.call('ZRANGEBYSCORE', l.key, text(now + lease + SKEW), '+inf')) do
    redis.call('ZADD', l.key, text(now + lease), held)
  end
  return 1000
end

function take.w(l)
  charge(l.window, l.amount)
  return l.window.current
end

function take.p(l)
  local at = text(l.period)
  if l.fresh then
    redis.call('HDEL', l.key, 's' .. text(l.period - 2), 'r' .. text(l.period - 2))
    redis.call('HSET', l.key, 's' .. at, 0)
  end
  redis.call('HINCRBY', l.key, 'r' .. at, text(l.amount))
  redis.call('PEXPIRE', l.key, text(l.ends - now + DAY))
  return l.period
end

function take.c(l)
  redis.call('ZADD', l.key, text(now + lease), id)
  redis.call('PEXPIRE', l.key, text(lease + IDLE))
  return 0
end

local function lowers(l)                 -- whether a lower cap fits, which is then noted
  if l.kind ~= 'p' then return false end
  local room = l.limit - l.used - l.fixed
  if room < 0 then return false end
  local within = l.each > 0 and math.floor(room / l.each) or cap
  if within < least then return false end
  cap = math.min(cap, within)
  return true
end

local open = redis.call('HGET', KEYS[1], id)
local limits, longest, refused, most = {}, -1, 0, cap
for i = 1, #KEYS - 4 do
  local a = 7 + (i - 1) * 8
  local l = {
    key = KEYS[4 + i], kind = ARGV[a + 1], measure = ARGV[a + 2], fixed = tonumber(ARGV[a + 3]),
    each = tonumber(ARGV[a + 4]), limit = tonumber(ARGV[a + 5]), width = ARGV[a + 6],
    count = tonumber(ARGV[a + 7]), name = ARGV[a + 8],
  }
  l.amount = l.fixed + most * l.each
  l.used = look[l.kind](l)
  limits[i] = l
  if not open and l.used + l.amount > l.limit and not lowers(l) then
    local ms = wait[l.kind](l)
    if ms > longest then longest, refused = ms, i end
  end
end
local answer = {1, now, reset, cap}
if refused > 0 then
  answer = {0, now, reset, refused, longest}
elseif not open then
  local record = {used = {t = 0, m = 0}, tenant = ARGV[7], entries = {}, note = ARGV[6]}
  for i, l in ipairs(limits) do
    l.amount = l.fixed + cap * l.each
    l.at = text(take[l.kind](l))
    l.used = l.used + l.amount
    record.entries[i] = l
  end
  redis.call('HSET', KEYS[1], id, packed(record))
  redis.call('ZADD', KEYS[2], text(now + lease), id)
end
for _, l in ipairs(limits) do answer[#answer + 1] = l.used end
return answer
