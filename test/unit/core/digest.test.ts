import { describe, expect, test } from 'vitest'
import { constantTimeEqual, hmac, sha256Hex, sign, verifySigned } from '../../../src/core/digest.ts'

test('SHA-256 of FIPS 180-2’s "abc"', () => {
  expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
})

test('HMAC-SHA-256 of RFC 4231’s test case 2', () => {
  const hex = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  expect(Buffer.from(hmac('Jefe', 'what do ya want for nothing?'), 'base64url').toString('hex')).toBe(hex)
})

describe('a signed value', () => {
  const value = { user: '0a0b', epoch: 3, name: 'Zoë' }
  const text = sign('key', 'causal', value)
  const [body, proof] = text.split('.') as [string, string]
  const forged = Buffer.from(JSON.stringify({ ...value, epoch: 4 })).toString('base64url')

  test('is verified with the same key and purpose', () => {
    expect(verifySigned('key', 'causal', text)).toEqual(value)
  })

  test.each([
    ['another body', `${forged}.${proof}`, 'key', 'causal'],
    ['another proof', `${body}.${proof.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}`, 'key', 'causal'],
    ['a proof cut short', `${body}.${proof.slice(0, -1)}`, 'key', 'causal'],
    ['another’s proof', `${body}.${sign('key', 'causal', 'other').split('.')[1]}`, 'key', 'causal'],
    ['no proof', body, 'key', 'causal'],
    ['an empty proof', `${body}.`, 'key', 'causal'],
    ['an empty body', `.${proof}`, 'key', 'causal'],
    ['something after it', `${text}.x`, 'key', 'causal'],
    ['nothing', '', 'key', 'causal'],
    ['another purpose', text, 'key', 'verify'],
    ['another key', text, 'keys', 'causal'],
  ])('%s: null', (_, changed, key, purpose) => {
    expect(verifySigned(key, purpose, changed)).toBeNull()
  })
})

test('equality of texts of equal, different and zero lengths', () => {
  expect([constantTimeEqual('ab', 'ab'), constantTimeEqual('ab', 'ac'), constantTimeEqual('ab', 'abc')]).toEqual([
    true,
    false,
    false,
  ])
  expect(constantTimeEqual('', '')).toBe(true)
  expect(constantTimeEqual('é', 'e')).toBe(false)
})
