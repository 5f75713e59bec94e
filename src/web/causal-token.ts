import { sign, verifySigned } from '../core/digest.ts'
import { limits } from '../core/limits.ts'

const PURPOSE = 'causal'

/** What a client must send back to read its own writes. */
export interface CausalToken {
  /** The newest map epoch that the client has seen. */
  epoch: number
  /** The slots that it wrote, newest first: at most 8. Reads of these slots bypass the caches. */
  slots: string[]
}

const SLOTS_MAX = 8
export const noToken: CausalToken = { epoch: 0, slots: [] }

/** The token after a request of a client who had `token` and that wrote these slots. */
export const advanced = (token: CausalToken, epoch: number, slots: Iterable<string>): CausalToken => ({
  epoch,
  slots: [...new Set([...[...slots].reverse(), ...token.slots])].slice(0, SLOTS_MAX),
})

export const formatCausalToken = (signingKey: string, token: CausalToken, now: number): string =>
  sign(signingKey, PURPOSE, { ...token, until: now + limits.causalTokenMs })

/** The contents of a valid, unexpired token, or null. A client without a token loses only the hint. */
function parseCausalToken(signingKey: string, text: string, now: number): CausalToken | null {
  const token = verifySigned(signingKey, PURPOSE, text) as (Partial<CausalToken> & { until: number }) | null
  // An earlier version's token has no slots.
  return token && token.until > now ? { epoch: token.epoch ?? 0, slots: token.slots ?? [] } : null
}

/** The client's token, from `x-causal-token` or the cookie. */
export function readCausalToken(request: Request, signingKey: string, now: number): CausalToken {
  const cookie = /(?:^|;\s*)__Host-causal=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1]
  const text = request.headers.get('x-causal-token') ?? cookie
  return (text && parseCausalToken(signingKey, text, now)) || noToken
}

/**
 * The slots that a client may have written: those of its causal token, and the slot of the user whose session token it
 * sends. That token need not be valid, because a client who claims a slot only gets slower answers.
 */
export function ownSlotsOf(request: Request, { slots }: CausalToken): Set<string> {
  const { headers } = request
  const sent = `${headers.get('authorization') ?? ''};${headers.get('cookie') ?? ''}`
  const slot = /(?:^Bearer |__Host-session=)([0-9a-f]{4})/i.exec(sent)?.[1]
  return new Set(slot ? [...slots, slot] : slots)
}
