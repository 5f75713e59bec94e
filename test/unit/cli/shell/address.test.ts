import { expect, test } from 'vitest'
import { isLocal } from '../../../../src/cli/shell/address.ts'

test.each(['http://localhost:8787', 'http://127.0.0.1', 'http://[::1]:8787'])('%s is local', (address) => {
  expect(isLocal(address)).toBe(true)
})

test.each(['https://a.example', 'https://localhost.example', 'http://[::2]'])('%s is not local', (address) => {
  expect(isLocal(address)).toBe(false)
})
