import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../../../scripts/free-port.ts'
import type { Tick } from '../../../../src/cli/load/figures.ts'
import { LiveFigures } from '../../../../src/cli/load/live.ts'
import { readSettings } from '../../../../src/cli/load/settings.ts'

const root = path.resolve(import.meta.dirname, '../../../..')
const url = 'http://localhost:8787'

test('options are read as numbers and have defaults', () => {
  expect(readSettings({ url, seed: '7' })).toEqual({
    url,
    rate: 50,
    durationMs: 30_000,
    users: 20,
    reads: 0.9,
    seed: 7,
  })
  const given = { url, rate: '0.5', 'until-stopped': true, users: '1', reads: '0', seed: '0' }
  expect(readSettings(given)).toEqual({ url, rate: 0.5, users: 1, reads: 0, seed: 0 })
  expect(readSettings({ url }).seed).not.toBe(readSettings({ url }).seed)
})

test.each([
  [{ rate: 'fast' }, '--rate is "fast".', 'Pass a number from 0.1 to 2,000.'],
  [{ rate: '' }, '--rate is "".', 'Pass a number from 0.1 to 2,000.'],
  [{ rate: '2001' }, '--rate is "2001".', 'Pass a number from 0.1 to 2,000.'],
  [{ rate: '0x10' }, '--rate is "0x10".', 'Pass a number from 0.1 to 2,000.'],
  [{ rate: '1e1' }, '--rate is "1e1".', 'Pass a number from 0.1 to 2,000.'],
  [{ rate: ' 1' }, '--rate is " 1".', 'Pass a number from 0.1 to 2,000.'],
  [{ seed: '+7' }, '--seed is "+7".', 'Pass a whole number from 0 to 4,294,967,295.'],
  [{ duration: '0' }, '--duration is "0".', 'Pass a number from 1 to 86,400.'],
  [{ users: '1.5' }, '--users is "1.5".', 'Pass a whole number from 1 to 1,000.'],
  [{ reads: '90' }, '--reads is "90".', 'Pass a number from 0 to 1.'],
  [{ seed: '-1' }, '--seed is "-1".', 'Pass a whole number from 0 to 4,294,967,295.'],
  [
    { rate: '2000', duration: '1001' },
    '--rate 2000 for --duration 1001 exceeds the limit of 2,000,000 requests.',
    'Pass a lower --rate',
  ],
  [{ duration: '9', 'until-stopped': true }, '--until-stopped and --duration cannot be combined.', 'Remove one'],
  [{ url: 'here' }, '"here" is not an address.', 'Start it with http'],
])('%o is refused with a fix', (options, message, fix) => {
  expect(() => readSettings({ url, ...options })).toThrow(
    expect.objectContaining({ message, fix: expect.stringContaining(fix) }),
  )
})

test('a command of one word takes options and no operands', async () => {
  const banyan = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['src/cli/main.ts', ...args], {
      cwd: root,
      encoding: 'utf8',
    })
    return { status, stdout, said: stderr.split('\n')[0] }
  }
  expect(banyan('load', 'more')).toEqual({
    status: 1,
    stdout: '',
    said: "Too many arguments for 'load'. Expected 0 arguments but got 1: more.",
  })
  expect(banyan('load', '--cursor', 'x')).toEqual({ status: 1, stdout: '', said: "Unknown option '--cursor'" })
  const unused = `http://localhost:${await freePort()}`
  const said = `${unused} does not answer (ECONNREFUSED).`
  expect(banyan('load', '--url', unused)).toEqual({ status: 1, stdout: '', said })
})

const tick = (seconds: number, more: Partial<Tick> = {}): Tick => ({
  seconds,
  requestsPerSecond: 199.6,
  p50Ms: 14.2,
  p99Ms: 88.4,
  failed: 0,
  retries: 2,
  dropped: 0,
  inFlight: 3,
  ...more,
})

function screen(isTTY: boolean) {
  const written: string[] = []
  return { written, live: new LiveFigures({ isTTY, columns: 50, write: (text) => written.push(text) }) }
}

test('without a terminal there is a line every five seconds, and one per quarter of the other stages', () => {
  const { written, live } = screen(false)
  for (let done = 1; done <= 40; done++) live.showProgress('signing up', done, 40)
  for (let second = 1; second <= 11; second++) live.show(tick(second, second === 6 ? { dropped: 4 } : {}))
  live.end()
  expect(written).toEqual([
    ...[1, 10, 20, 30, 40].map((done) => `signing up: ${done} of 40\n`),
    '   1 s   200/s  p50 14 ms  p99 88 ms  0 failed  2 retries  3 in flight\n',
    '   6 s   200/s  p50 14 ms  p99 88 ms  0 failed  2 retries  4 dropped  3 in flight\n',
    '  11 s   200/s  p50 14 ms  p99 88 ms  0 failed  2 retries  3 in flight\n',
  ])
})

test('on a terminal there is one line, redrawn in place and never wrapped, with messages above it', () => {
  const { written, live } = screen(true)
  live.showProgress('signing up', 1, 40)
  live.show(tick(1))
  live.say('Stopping.')
  live.end()
  expect(written).toEqual([
    '\r\u001b[Ksigning up: 1 of 40',
    '\r\u001b[K   1 s   200/s  p50 14 ms  p99 88 ms  0 failed  2',
    '\r\u001b[K',
    'Stopping.\n',
  ])
})
