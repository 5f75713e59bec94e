import { sign, verifySigned } from '../core/digest.ts'
import { limits } from '../core/limits.ts'

const PURPOSE = 'causal'

/** What a client carries so that it reads its own writes: the newest map epoch that it has met. */
export interface CausalToken {
  epoch: number
}

export const formatCausalToken = (signingKey: string, token: CausalToken, now: number): string =>
  sign(signingKey, PURPOSE, { ...token, until: now + limits.causalTokenMs })

/** A token of ours that still lives, or null: a client without one loses nothing but the hint. */
function parseCausalToken(signingKey: string, text: string, now: number): CausalToken | null {
  const token = verifySigned(signingKey, PURPOSE, text) as { epoch: number; until: number } | null
  return token && token.until > now ? { epoch: token.epoch } : null
}

/** The newest epoch a request's client knows of, from its `x-causal-token` or cookie; 0 without one. */
export function readClientEpoch(request: Request, signingKey: string, now: number): number {
  const cookie = /(?:^|;\s*)__Host-causal=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1]
  const text = request.headers.get('x-causal-token') ?? cookie
  return text ? (parseCausalToken(signingKey, text, now)?.epoch ?? 0) : 0
}
