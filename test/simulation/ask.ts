import { hasCode, messageOf } from '../../src/core/errors.ts'
import type { CausalToken } from '../../src/web/causal-token.ts'
import type { Effect } from './checker.ts'
import type { Isolate, SimulatedRequest, World } from './world.ts'

const TIMEOUT_MS = 7_000

/** After this long, a client stops waiting and does not know the outcome. */
class NoAnswer extends Error {}

/** The outcome of a request, and the client's causal token after it. */
export type Answered<T> = ({ value: T } | { error: unknown }) & { causal: CausalToken }

export interface Asking {
  /** The client that asks. */
  name: string
  causal: CausalToken
  /** The client's session token. */
  token?: string | null
  effect: Effect | null
  /** Default: any. */
  isolate?: Isolate
}

/**
 * Sends one request to any isolate. It fails if the isolate dies or does not answer in time. Shards may be slow for
 * longer than that, but no request waits that long for caches or for the map.
 */
export function ask<T>(
  world: World,
  asking: Asking,
  body: (request: SimulatedRequest) => Promise<T>,
): Promise<Answered<T>> {
  const isolate = asking.isolate ?? world.isolate()
  const startedAt = world.scheduler.now()
  const { causal, token, effect } = asking
  const request = isolate.request({ client: { causal, token }, effect })
  return new Promise((resolve) => {
    let isOpen = true
    const answer = (answered: Answered<T>) => {
      isOpen = false
      resolve(answered)
    }
    const fail = (why: string) => answer({ error: new NoAnswer(why), causal })
    isolate.process.onDeath(() => fail('the isolate died'))
    world.scheduler.after(TIMEOUT_MS, () => {
      if (isOpen && request.invocation.sent === 0 && isolate.process.isAlive && isolate.frozenUntil < startedAt)
        world.checker.report(`M6: a request got no answer although it sent nothing to a shard for ${TIMEOUT_MS} ms`)
      fail('no answer in time')
    })
    isolate.process.after(1, () => {
      body(request).then(
        (value) => isolate.process.after(1, () => answer({ value, causal: request.causal() })),
        (error: unknown) => {
          world.note(() => `${asking.name}: ${messageOf(error)}`)
          // The answer to a refused log-in does not tell whose attempt was counted.
          const isToldNothing = hasCode(error, 'WRONG_CREDENTIALS', 'RATE_LIMITED')
          isolate.process.after(1, () => answer({ error, causal: isToldNothing ? causal : request.causal() }))
        },
      )
    })
  })
}

/** The client was told that nothing was written. */
export const isRefused = (error: unknown): boolean =>
  hasCode(error, 'SLOT_FENCED', 'SLOT_NOT_OWNED', 'SESSION_ENDED', 'SHARD_FULL', 'DATABASE_ERROR')
