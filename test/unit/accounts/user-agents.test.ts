import { expect, test } from 'vitest'
import { deviceName, withoutVersions } from '../../../src/app/accounts/user-agents.ts'

const firefox = (version: number) =>
  `Mozilla/5.0 (X11; Linux x86_64; rv:${version}.0) Gecko/20100101 Firefox/${version}.0`

test.each([
  [firefox(128), 'Firefox on Linux'],
  ['curl/8.5.0', 'curl'],
  ['python-requests/2.32', 'python-requests'],
  ['', 'an unknown program'],
  // The client that logs in chooses the header. None of it becomes a sentence or a link in the owner's mail.
  ['Your account is locked. Call +1 555 0100', 'an unknown program'],
  ['evil.example/confirm', 'an unknown program'],
  ['https://evil.example', 'an unknown program'],
  ['<b>bold</b>', 'an unknown program'],
  ['a'.repeat(31), 'an unknown program'],
  ['Safari/1 on https://evil.example (Windows)', 'Safari on Windows'],
])('%j is %j in a mail', (userAgent, name) => {
  expect(deviceName(userAgent)).toBe(name)
})

test('an updated browser is the same device, and another system is another', () => {
  expect(withoutVersions(firefox(128))).toBe(withoutVersions(firefox(129)))
  expect(withoutVersions(firefox(128))).not.toBe(withoutVersions(firefox(128).replace('X11; Linux', 'Windows NT')))
})
