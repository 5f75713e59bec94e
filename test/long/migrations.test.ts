import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runBanyan } from '../support/banyan.ts'

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
  const ran = await runBanyan(nowhere, ['migrations', 'status', '--json', ...where()])
  expect(ran.code, ran.stderr).toBe(0)
  return (JSON.parse(ran.stdout) as { items: Status[] }).items
}

test('64 shards by one command, killed half-way, run again, done; once more, nothing', async () => {
  const apply = ['migrations', 'apply', ...where()]
  const killed = await runBanyan(nowhere, apply, (said, kill) => {
    if (said.split('\n').length > KILLED_AFTER) kill()
  })
  expect(killed.code).not.toBe(0)
  const between = await status()
  expect(between).toHaveLength(SHARDS)
  const lagging = between.filter(({ pending }) => pending.length > 0).length
  expect(lagging).toBeGreaterThan(0)
  expect(lagging).toBeLessThan(SHARDS)

  const again = await runBanyan(nowhere, apply)
  expect(again, again.stderr).toMatchObject({ code: 0 })
  const migrated = /^Applied (\d+) migrations to (\d+) shards\.\n$/.exec(again.stdout)
  expect(Number(migrated?.[2]), again.stdout).toBe(lagging)
  expect((await status()).every(({ pending }) => pending.length === 0)).toBe(true)
  expect(await runBanyan(nowhere, apply)).toMatchObject({ code: 0, stdout: 'Every shard is migrated.\n' })
})
