import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** SHA-256 of a text, as 64 lowercase hex digits. */
export const sha256Hex = (text: string): string => createHash('sha256').update(text).digest('hex')

/** HMAC-SHA-256 of a text, as base64url without padding. */
export const hmac = (key: string, text: string): string => createHmac('sha256', key).update(text).digest('base64url')

/** Equality in a time that depends only on the lengths. */
export function constantTimeEqual(left: string, right: string): boolean {
  const a = Buffer.from(left)
  const b = Buffer.from(right)
  return a.length === b.length && timingSafeEqual(a, b)
}

export const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')

/** A value with its proof: `base64url(json).hmac`. `purpose` prevents the use of a token of another kind. */
export function sign(key: string, purpose: string, value: unknown): string {
  const body = Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${body}.${hmac(key, `${purpose}.${body}`)}`
}

/** The value that `sign` was given. Null if the text has no valid proof for this key and purpose. */
export function verifySigned(key: string, purpose: string, text: string): unknown {
  const [body, proof, ...rest] = text.split('.')
  if (!body || !proof || rest.length > 0) return null
  if (!constantTimeEqual(proof, hmac(key, `${purpose}.${body}`))) return null
  return JSON.parse(Buffer.from(body, 'base64url').toString())
}
