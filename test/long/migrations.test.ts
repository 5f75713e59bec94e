import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { banyan, startBanyan } from '../support/banyan.ts'

const SHARDS = 64
const KILLED_AFTER = 10
const nowhere = new URL('http://localhost:9')

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-migrations-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const where = () => ['--shards', String(SHARDS), '--persist-to', folder]

interface Status {
  binding: string
  newest: string | null
  pending: string[]
}

async function status(): Promise<Status[]> {
  const ran = await banyan(nowhere, 'migrations', 'status', '--json', ...where())
  expect(ran.code, ran.stderr).toBe(0)
  return (JSON.parse(ran.stdout) as { items: Status[] }).items
}

test('64 shards by one command, killed half-way, run again, done; once more, nothing', async () => {
  const apply = ['migrations', 'apply', ...where()]
  const { child, ended } = startBanyan(nowhere, ...apply)
  let lines = 0
  child.stderr!.on('data', (said: Buffer) => {
    lines += said.toString().split('\n').length - 1
    if (lines >= KILLED_AFTER) child.kill('SIGKILL')
  })
  expect((await ended).signal).toBe('SIGKILL')
  const between = await status()
  expect(between).toHaveLength(SHARDS)
  const lagging = between.filter(({ pending }) => pending.length > 0).length
  expect(lagging).toBeGreaterThan(0)
  expect(lagging).toBeLessThan(SHARDS)

  const again = await banyan(nowhere, ...apply)
  expect(again, again.stderr).toMatchObject({ code: 0 })
  const migrated = /^Applied (\d+) migrations to (\d+) shards\.\n$/.exec(again.stdout)
  expect(Number(migrated?.[2]), again.stdout).toBe(lagging)
  expect((await status()).every(({ pending }) => pending.length === 0)).toBe(true)
  expect(await banyan(nowhere, ...apply)).toMatchObject({
    code: 0,
    stdout: 'Every shard already has all migrations.\n',
  })
})
