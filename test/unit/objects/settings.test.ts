import { expect, test } from 'vitest'
import { readEngineSettings } from '../../../src/objects/settings.ts'

const read = (SHARD_BYTES_MAX: string) => readEngineSettings({ SHARD_BYTES_MAX }).shardBytesMax

test('a shard may have 10 GB by default, and otherwise the configured size', () => {
  expect(readEngineSettings({}).shardBytesMax).toBe(10_000_000_000)
  expect(read('')).toBe(10_000_000_000)
  expect(read('500000000')).toBe(500_000_000)
})

test.each(['0', '-1', '500 MB', '1.5'])('SHARD_BYTES_MAX can’t be "%s"', (value) => {
  expect(() => read(value)).toThrow(expect.objectContaining({ code: 'SETTING_MISSING' }))
})
