import { beforeAll, beforeEach } from 'vitest'
import { endOpenMoves, epoch, holdings, routed } from './moving.ts'

/**
 * A slot of claims of each test's own, at the first shard, with these claims in it. Claims have two tables where users
 * have ten: a move's steps are the same, its rounds fewer. To be called once a file.
 */
export function movedClaims(names: string[]) {
  let slot = ''
  let number = 0x1000
  const run = (sql: string, value: string) =>
    routed().of(slot, { keyspace: 'claims', operation: 'test.write' }).prepare(sql).bind(value).run()
  const insert = (name: string) =>
    run("INSERT INTO claims VALUES (?, 'email', 'ä', 'a', 'confirmed', 1)", `${slot}.${name}`)

  // The first boot gives the slots out: the lower half is the first shard's.
  beforeAll(async () => void (await epoch()))
  beforeEach(async () => {
    await endOpenMoves()
    slot = (number++).toString(16)
    for (const name of names) await insert(name)
  })
  /** So many of the slots that come next are this test's too. */
  const skip = (slots: number) => {
    number += slots
  }
  return { slot: () => slot, skip, run, insert, at: (binding: string) => holdings(binding, 'claims', slot) }
}
