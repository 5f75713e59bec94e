import { expect, test } from 'vitest'
import { isLocalHost } from '../../../src/web/api.ts'
import { addressKey } from '../../../src/web/middleware/rate-limits.ts'

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002::9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
])('%s is limited as %s', (address, key) => {
  expect(addressKey(address)).toBe(key)
})

test.each([
  ['localhost', true],
  ['127.0.0.1', true],
  ['[::1]', true],
  ['app.localhost', true],
  ['127.evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['localhost.evil.example', false],
])('%s is local: %s', (hostname, expected) => {
  expect(isLocalHost(hostname)).toBe(expected)
})
