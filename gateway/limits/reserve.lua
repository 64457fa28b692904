#!lua
-- Take an amount from every limit, or nothing from any.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5 ledger (stream)  6.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id  4 the epoch that the caller knows, or 0
--       5 rows that may wait for the ledger  6 whether there is a ledger to ask (0 | 1)
--       7 cap  8 least cap  9 note  10 tenant
--       then per limit: kind  measure  fixed  each  limit  width  count  name
--         w  sliding window    width = ms per bucket, count = buckets
--         p  calendar period   width = day | month
--         c  concurrency       held until settled or until the lease ends
--       The amount of a limit is fixed + cap * each. A calendar limit with less room lowers the
--       cap, but not below the least; a sliding one must have room for the whole.
--       then what the ledger says: limit, period, amount, …
-- Returns {1, now, reset, epoch, cap, used…}   taken; the cap, and what each limit now has in use
--         {0, now, reset, epoch, limit, wait, {id, stored, …}, used…}   refused; the limit to wait
--             for longest, and ms; some whose leases have ended
--         {2, …}                   this id has ended already
--         {3, …}                   the ledger is too far behind
--         {4, …, limit, period, …} the ledger must be asked about these first
--         {5, …}                   the caller knows of other data than these: it must first put
--             back what it has admitted
--         {6, …}                   others may still be doing so
-- An id that is open is answered as at first, and nothing more is taken.

local REAPED = 8
local id, lease, now = ARGV[3], tonumber(ARGV[2])
local shard = clock(KEYS[3], KEYS[2], ARGV[1], lease)
now = shard.now
if redis.call('EXISTS', KEYS[4]) == 1 then return answer(2, shard) end
if ARGV[4] ~= '0' and ARGV[4] ~= shard.epoch then return answer(5, shard) end
local open = redis.call('HGET', KEYS[1], id)
if not open and now < shard.quiet then return answer(6, shard) end
if not open and redis.call('XLEN', KEYS[5]) >= tonumber(ARGV[5]) then return answer(3, shard) end

local cap, least = tonumber(ARGV[7]), tonumber(ARGV[8])
local limits, rest = given(11, 5)
local seeds = ARGV[6] == '1' and told(rest) or nil
local look, wait, take = {}, {}, {}

function look.w(l)
  l.window = window(l.key, tonumber(l.width), l.count, now)
  return l.window.sum
end

function look.p(l, i)
  l.period = counted(l.key, i, l.width, shard, seeds)
  return l.period.settled + l.period.reserved
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

function wait.p(l) return l.period.ends - now end

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
  if l.period.fresh then settle(l.period, 0, now) end
  redis.call('HINCRBY', l.key, 'r' .. l.period.at, text(l.amount))
  return l.period.number
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

local function lapsed()
  local found = {}
  local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, REAPED)
  for _, ended in ipairs(ids) do
    found[#found + 1] = ended
    found[#found + 1] = redis.call('HGET', KEYS[1], ended) or ''
  end
  return found
end

local unseeded = {}
for i, l in ipairs(limits) do
  l.used = look[l.kind](l, i)
  if l.period and l.period.unseeded then
    unseeded[#unseeded + 1] = i
    unseeded[#unseeded + 1] = l.period.number
  end
end
if #unseeded > 0 and not open then return answer(4, shard, unpack(unseeded)) end

local most, longest, refused = cap, -1, 0
for i, l in ipairs(limits) do
  l.amount = l.fixed + most * l.each
  if not open and l.used + l.amount > l.limit and not lowers(l) then
    local ms = wait[l.kind](l)
    if ms > longest then longest, refused = ms, i end
  end
end
local used = {}
if refused > 0 then
  for i, l in ipairs(limits) do used[i] = l.used end
  return answer(0, shard, refused, longest, lapsed(), unpack(used))
end
if open then
  cap = unpacked(open).cap
else
  local record = {
    used = {t = 0, m = 0}, cap = cap, tenant = ARGV[10], entries = limits, note = ARGV[9],
  }
  for _, l in ipairs(limits) do
    l.amount = l.fixed + cap * l.each
    l.at = text(take[l.kind](l))
    l.used = l.used + l.amount
  end
  redis.call('HSET', KEYS[1], id, packed(record))
  redis.call('ZADD', KEYS[2], text(now + lease), id)
end
for i, l in ipairs(limits) do used[i] = l.used end
return answer(1, shard, cap, unpack(used))
