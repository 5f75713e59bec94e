import { sign, verifySigned } from '../core/digest.ts'
import { limits } from '../core/limits.ts'

const PURPOSE = 'causal'

/** Holds the newest map epoch that a client has seen, so that the client reads its own writes. */
export interface CausalToken {
  epoch: number
}

export const formatCausalToken = (signingKey: string, token: CausalToken, now: number): string =>
  sign(signingKey, PURPOSE, { ...token, until: now + limits.causalTokenMs })

/** The contents of a valid, unexpired token, or null. A client without a token loses only the hint. */
function parseCausalToken(signingKey: string, text: string, now: number): CausalToken | null {
  const token = verifySigned(signingKey, PURPOSE, text) as { epoch: number; until: number } | null
  return token && token.until > now ? { epoch: token.epoch } : null
}

/** The newest epoch that the client has seen, from `x-causal-token` or the cookie. 0 if it sends neither. */
export function readClientEpoch(request: Request, signingKey: string, now: number): number {
  const cookie = /(?:^|;\s*)__Host-causal=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1]
  const text = request.headers.get('x-causal-token') ?? cookie
  return text ? (parseCausalToken(signingKey, text, now)?.epoch ?? 0) : 0
}
