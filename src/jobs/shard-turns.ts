import type { ShardObserver } from '../sharding/routing.ts'

interface Turns {
  running: number
  waiting: (() => void)[]
}

/**
 * Lets at most `max` calls of one invocation run at once in one shard, so that users' queries come between those of
 * jobs. With `max_concurrency` of the queues, it bounds the calls of all consumers.
 */
export function inTurns(observer: ShardObserver, max: number): ShardObserver {
  const shards = new Map<string, Turns>()
  return {
    async before(call) {
      const turns = shards.get(call.shard) ?? { running: 0, waiting: [] }
      shards.set(call.shard, turns)
      // The call that ends hands its turn over, so `running` stays the same.
      if (turns.running >= max) await new Promise<void>((resolve) => turns.waiting.push(resolve))
      else turns.running++
      await observer.before?.(call)
    },
    async after(call, ms, error) {
      const turns = shards.get(call.shard)
      const next = turns?.waiting.shift()
      if (next) next()
      else if (turns) turns.running--
      await observer.after?.(call, ms, error)
    },
  }
}
