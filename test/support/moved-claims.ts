import { beforeAll, beforeEach } from 'vitest'
import { endOpenMoves, epoch, holdings, routed } from './moving.ts'

/**
 * Gives each test its own slot of claims, at the first shard, with these claims in it. Claims have two tables and users
 * have ten, so a move has the same steps but fewer rounds. Call it once per file.
 */
export function movedClaims(names: string[]) {
  let slot = ''
  let number = 0x1000
  const run = (sql: string, value: string) =>
    routed().of(slot, { keyspace: 'claims', operation: 'test.write' }).prepare(sql).bind(value).run()
  const insert = (name: string) =>
    run("INSERT INTO claims VALUES (?, 'email', 'ä', 'a', 'confirmed', 1)", `${slot}.${name}`)

  // The first boot assigns the slots: the first shard gets the lower half.
  beforeAll(async () => void (await epoch()))
  beforeEach(async () => {
    await endOpenMoves()
    slot = (number++).toString(16)
    for (const name of names) await insert(name)
  })
  /** Reserves the next `slots` slots for this test too. */
  const skip = (slots: number) => {
    number += slots
  }
  return { slot: () => slot, skip, run, insert, at: (binding: string) => holdings(binding, 'claims', slot) }
}
