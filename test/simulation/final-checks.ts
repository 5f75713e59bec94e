import { checkPassword, NO_PASSWORD } from '../../src/app/accounts/passwords.ts'
import { slotOf } from '../../src/core/ids.ts'
import type { Mail } from '../../src/jobs/mail.ts'
import { isOver, slotAfter } from '../../src/resharding/record.ts'
import { claimKey } from '../../src/sharding/claims.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import { FLEETING } from './checker.ts'
import type { History } from './clients.ts'
import { STRANGE_TABLE } from './strange-rows.ts'
import { neighbourhood } from './template.ts'
import type { Shard, World } from './world.ts'

/** The checks that must hold once everything has come to rest. */
export async function finalChecks(world: World, history: History): Promise<void> {
  progress(world)
  places(world)
  rows(world)
  await passwords(world)
  claims(world, history)
  reasons(world)
  jobs(world, history)
  for (const { id, replicated } of world.shards)
    if (replicated && !(await replicated.areEqual())) world.checker.report(`the replicas of ${id} differ from it`)
}

/** M6: all moves have ended, and nothing is left behind. */
function progress(world: World): void {
  for (const { id, state, ending, error } of world.openMoves())
    if (!isOver({ state }))
      world.checker.report(`M6: ${id} is ${state}${ending ? ` (${ending})` : ''} and never ends: ${error}`)
  if (world.held > 0 || world.queued > 0) world.checker.report('M6: calls or messages never end')
  for (const shard of world.shards) {
    const waiting = "SELECT id, state FROM outbox WHERE state <> 'dead'"
    for (const { id, state } of all<{ id: string; state: string }>(world, shard, waiting))
      world.checker.report(`M5: the job ${id} stays ${state}`)
    for (const { tbl } of all<{ tbl: string }>(world, shard, 'SELECT tbl FROM slot_changes'))
      world.checker.report(`a change of ${tbl} is still captured at ${shard.id}`)
  }
}

/** A failed move states its reason. */
function reasons(world: World): void {
  for (const { id, state, error } of world.directory.records.list({ limit: 100, before: null }))
    if (state === 'failed' && !error) world.checker.report(`M6: ${id} failed without a reason`)
}

/** M5 for jobs: each job takes effect once, however large its body is. */
function jobs(world: World, history: History): void {
  const effects = new Map<string, number>()
  const dead = new Map<string, string>()
  for (const shard of world.shards) {
    const counted = "SELECT id, created_at AS times FROM claim_attempts WHERE outcome = 'effect'"
    for (const { id, times } of all<{ id: string; times: number }>(world, shard, counted))
      effects.set(id, (effects.get(id) ?? 0) + times)
    for (const { id, error } of all<{ id: string; error: string }>(world, shard, 'SELECT id, error FROM dead_letters'))
      dead.set(id, error)
  }
  for (const [id, error] of dead) world.checker.report(`M5: the job ${id} died: ${error}`)
  for (const [effectId, id] of history.jobs) {
    const times = effects.get(effectId) ?? 0
    if (times !== 1) world.checker.report(`M5: the job ${id} had its effect ${times} times`)
  }
  for (const [id, times] of effects) if (times !== 1) world.checker.report(`M5: ${id} came ${times} times`)
}

/** M7: every slot, with its rows, is active at its owner and unknown elsewhere. */
function places(world: World): void {
  for (const keyspace of keyspaces) {
    const [first, last] = neighbourhood[keyspace]
    for (const shard of world.shards) {
      const slots = world.checker
        .ask(shard, 'SELECT slot, state FROM slots WHERE keyspace = ? AND slot BETWEEN ? AND ?')
        .all(keyspace, first, last) as { slot: string; state: string }[]
      for (const { slot, state } of slots)
        if (state !== 'active' || world.checker.ownerOf(keyspace, slot).id !== shard.id)
          world.checker.report(
            `M7: ${keyspace} ${slot} is ${state} at ${shard.id}, and ${world.checker.ownerOf(keyspace, slot).id} owns it`,
          )
      for (const { name, key } of world.template.tables[keyspace]) {
        const rows = world.checker
          .ask(shard, `SELECT "${key[0]}" AS id FROM "${name}" WHERE "${key[0]}" >= ? AND "${key[0]}" < ?`)
          .all(first, slotAfter(last)) as { id: string }[]
        for (const { id } of rows)
          if (world.checker.ownerOf(keyspace, slotOf(id)).id !== shard.id)
            world.checker.report(`M7: a row of ${name} is left at ${shard.id}: ${id}`)
      }
    }
    const known = world.shards.reduce(
      (sum, shard) =>
        sum +
        (
          world.checker
            .ask(shard, 'SELECT count(*) AS slots FROM slots WHERE keyspace = ? AND slot BETWEEN ? AND ?')
            .get(keyspace, first, last) as { slots: number }
        ).slots,
      0,
    )
    const slots = Number.parseInt(last, 16) - Number.parseInt(first, 16) + 1
    if (known !== slots) world.checker.report(`M7: ${known} of ${slots} slots of ${keyspace} are known anywhere`)
  }
}

/**
 * M3: each watched row holds the value that was written last, in the order in which shards executed the writes, and
 * each post was edited as often as an edit was executed. Whether each execution had been requested, and each
 * acknowledged write executed, was checked at the time.
 */
function rows(world: World): void {
  const { checker } = world
  for (const table of ['posts', STRANGE_TABLE, FLEETING])
    for (const register of checker.registers(table)) {
      const stored = checker.stored(register)
      if (stored !== register.value)
        checker.report(
          `M3: ${table} ${JSON.stringify(register.id)} is ${JSON.stringify(stored)}, and was written as ${JSON.stringify(register.value)}`,
        )
    }
  const found = world.shards.flatMap((shard) =>
    all<{ id: string; version: number }>(world, shard, 'SELECT id, version FROM posts'),
  )
  for (const [id, copies] of Map.groupBy(found, (row) => row.id)) {
    const register = checker.find('posts', id)
    if (copies.length > 1) checker.report(`M3: ${id} is there ${copies.length} times`)
    if (!register) checker.report(`M3: no client wrote ${id}`)
    else if (copies[0]!.version !== register.values)
      checker.report(`M3: ${id} has version ${copies[0]!.version}, and was written ${register.values} times`)
  }
}

/** The account has the password that was set last. */
async function passwords({ checker }: World): Promise<void> {
  for (const register of checker.registers('accounts')) {
    const { fits } = await checkPassword(register.value!, checker.stored(register) ?? NO_PASSWORD)
    if (!fits) checker.report(`M3: the password of ${register.id} is not ${register.value}`)
  }
}

interface Claim {
  key: string
  ownerId: string
  state: string
}

/** M5: two accounts never hold the same claim, no claim stays without its account, and every account has its claims. */
function claims(world: World, history: History): void {
  const held = new Map<string, Claim>()
  for (const shard of world.shards)
    for (const claim of all<Claim>(world, shard, 'SELECT key, owner_id AS ownerId, state FROM claims')) {
      if (held.has(claim.key)) world.checker.report(`M5: the claim ${claim.key} exists twice`)
      held.set(claim.key, claim)
    }
  const accounts = new Set<string>()
  /** The owner of each claim, derived from the accounts. */
  const due = new Map(world.template.externals.map(({ claim, id }) => [claim, id]))
  for (const shard of world.shards)
    for (const { id, email, handle } of all<{ id: string; email: string; handle: string }>(
      world,
      shard,
      'SELECT accounts.id, email, handle FROM accounts JOIN profiles USING (id)',
    )) {
      if (accounts.has(id)) world.checker.report(`M3: the account ${id} exists twice`)
      accounts.add(id)
      for (const key of [claimKey({ kind: 'email', value: email }), claimKey({ kind: 'handle', value: handle })]) {
        const claim = held.get(key)
        due.set(key, id)
        if (claim?.ownerId !== id || claim.state !== 'confirmed')
          world.checker.report(`M5: ${id} has no claim on ${email} or ${handle}: ${JSON.stringify(claim)}`)
      }
    }
  for (const { key, ownerId } of held.values())
    if (due.get(key) !== ownerId)
      world.checker.report(`M5: the claim ${key} is held by ${ownerId}, which does not own it`)
    else if (!accounts.has(ownerId))
      world.checker.report(`M5: the claim ${key} is held by ${ownerId}, which does not exist`)
  for (const { userId, handle } of history.accounts)
    if (!accounts.has(userId)) world.checker.report(`M3: the account ${handle} (${userId}) is gone`)
  for (const [id, { externalId, email }] of history.imported) {
    if (!accounts.has(id)) world.checker.report(`M3: the imported account ${externalId} (${id}) is missing`)
    if (world.mails.some((mail) => mail.to === email && isVerification(mail)))
      world.checker.report(`${externalId} was imported, but received a mail`)
  }
  for (const { userId, email } of history.accounts) {
    // A mail that is sent twice carries the same id both times.
    const verifications = world.mails.filter((mail) => mail.to === email && isVerification(mail))
    const mails = new Set(verifications.map(({ messageId }) => messageId))
    if (mails.size !== 1) world.checker.report(`M5: ${mails.size} mails were sent to ${userId}`)
  }
}

/** Notices of log-ins and changes of the password follow from what clients do. */
const isVerification = ({ text }: Mail): boolean => text.includes('/verify-email/')

const all = <T>(world: World, shard: Shard, sql: string): T[] => world.checker.ask(shard, sql).all() as T[]
