import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { banyan } from '../support/banyan.ts'
import { expectImported, importUntil, oldUsers } from '../support/import-checks.ts'
import { startKillableStack } from '../support/killable-stack.ts'
import { writeDump } from '../support/old-application.ts'

const COUNT = 100_000
/**
 * For the whole test, including kills and verification, on two idle cores. On a busy machine it takes twice as long.
 */
const expectedSeconds = 300

test('100,000 users of one dump, the command killed twice, the server once: all users exist, with their claims', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'banyan-import-test-'))
  const stack = await startKillableStack({ shards: 2, vars: { JOBS: 'queue', LEASE_MS: '2000', GRACE_MS: '5000' } })
  try {
    const file = path.join(folder, 'old.sql')
    await writeDump(file, COUNT)
    const startedAt = performance.now()
    const first = await importUntil(stack.url, file, 20_000)
    // The server is killed in the middle of a request and is unavailable for a moment. The command waits for it.
    const restarting = (async () => {
      await new Promise((resolve) => setTimeout(resolve, 8_000))
      await stack.kill()
      await stack.start()
    })()
    const second = await importUntil(stack.url, file, 60_000)
    await restarting
    expect(second).toBeGreaterThan(first)
    const done = await banyan(stack.url, 'import', file, '--json')
    const seconds = (performance.now() - startedAt) / 1_000
    expect(done.code, done.stderr).toBe(0)
    const { imported, there, ...rest } = JSON.parse(done.stdout) as Record<string, number>
    expect(imported! + there!).toBe(COUNT)
    expect(rest).toMatchObject({ read: COUNT, refused: 0, asked: COUNT, verified: COUNT, missing: 0, differing: 0 })
    console.log(`${COUNT} users in ${seconds.toFixed(0)} s, with three starts, two kills and all users verified`)
    expect(seconds).toBeLessThan(expectedSeconds * 2)

    await stack.kill()
    const shards = stack.openShards()
    const read = (sql: string) =>
      [...shards.values()].flatMap((shard) => shard.prepare(sql).all() as Record<string, string | number | null>[])
    await expectImported(read, { users: oldUsers(COUNT), source: 'old', others: 0 })
    for (const shard of shards.values()) shard.close()
  } finally {
    await stack.close()
    rmSync(folder, { recursive: true })
  }
}, 900_000)
