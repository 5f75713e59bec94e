import { slotOf } from '../../src/core/ids.ts'
import { isOver, slotAfter } from '../../src/resharding/record.ts'
import { claimKey } from '../../src/sharding/claims.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import type { History } from './clients.ts'
import { STRANGE_PRINT } from './strange-rows.ts'
import { neighbourhood } from './template.ts'
import type { Shard, World } from './world.ts'

/** What must hold once everything has come to rest. */
export function finalChecks(world: World, history: History): void {
  progress(world)
  places(world)
  posts(world, history)
  strangeRows(world, history)
  claims(world, history)
}

/** M6, and that nothing is left behind. */
function progress(world: World): void {
  for (const { id, state, ending, error } of world.openMoves())
    if (!isOver({ state }))
      world.checker.report(`M6: ${id} is ${state}${ending ? ` (${ending})` : ''} for ever: ${error}`)
  if (world.held > 0 || world.queued > 0) world.checker.report('M6: calls or messages are under way for ever')
  for (const shard of world.shards) {
    for (const { id, state } of all<{ id: string; state: string }>(world, shard, 'SELECT id, state FROM outbox'))
      world.checker.report(`M5: the job ${id} is ${state} for ever`)
    for (const { tbl } of all<{ tbl: string }>(world, shard, 'SELECT tbl FROM slot_changes'))
      world.checker.report(`a change of ${tbl} is still captured at ${shard.id}`)
  }
}

/** M7: every slot is active at its owner and unknown elsewhere, and so are its rows. */
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

/** M3: what was acknowledged is there once, what was refused isn't, what nobody knows is there once or not at all. */
function posts(world: World, history: History): void {
  const now = world.scheduler.now()
  const found = world.shards.flatMap((shard) =>
    all<{ id: string; text: string; version: number }>(world, shard, 'SELECT id, text, version FROM posts'),
  )
  const byId = Map.groupBy(found, ({ id }) => id)
  for (const [id, rows] of byId) if (rows.length > 1) world.checker.report(`M3: ${id} is there ${rows.length} times`)
  for (const register of history.posts.values()) {
    const row = byId.get(register.id)?.[0]
    const text = row?.text ?? null
    const allowed = register.allowed(now, 0)
    if (!allowed.has(text))
      world.checker.report(`M3: ${register.id} is ${JSON.stringify(text)}, and may be ${JSON.stringify([...allowed])}`)
    if (!row) continue
    const edits = register.writes.slice(1).filter(({ value }) => value !== null)
    const sure = edits.filter(({ ackedAt }) => ackedAt !== null).length
    const possible = edits.filter(({ mayHaveHappened }) => mayHaveHappened).length
    if (row.version < 1 + sure || row.version > 1 + possible)
      world.checker.report(`M3: ${register.id} has version ${row.version} after ${sure} to ${possible} edits`)
  }
  const byText = Map.groupBy(found, ({ text }) => text)
  for (const { text, postId, mayHaveHappened } of history.creations) {
    const rows = (byText.get(text) ?? []).filter(({ id }) => id !== postId)
    if (postId && rows.length > 0) world.checker.report(`M3: ${text} was made twice`)
    if (!postId && rows.length > (mayHaveHappened ? 1 : 0))
      world.checker.report(
        `M3: ${text} is there ${rows.length} times, and was ${mayHaveHappened ? 'sent once' : 'refused'}`,
      )
  }
  const created = new Set(history.creations.map(({ text }) => text))
  for (const { id, text } of found)
    if (!history.posts.has(id) && !created.has(text)) world.checker.report(`M3: nobody wrote ${id}: ${text}`)
}

function strangeRows(world: World, history: History): void {
  const now = world.scheduler.now()
  for (const register of history.strange.values()) {
    const owner = world.checker.ownerOf('users', slotOf(register.id))
    const row = world.checker
      .ask(owner, `SELECT ${STRANGE_PRINT} AS print FROM mail_tokens WHERE id = ?`)
      .get(register.id) as { print: string } | undefined
    const allowed = register.allowed(now, 0)
    if (!allowed.has(row?.print ?? null))
      world.checker.report(
        `M3: the strange row ${JSON.stringify(register.id)} is ${row?.print}, and may be ${JSON.stringify([...allowed])}`,
      )
  }
}

interface Claim {
  key: string
  ownerId: string
  state: string
}

/** M5: two accounts never hold the same claim, no claim stays without its account, none of an account's is missing. */
function claims(world: World, history: History): void {
  const held = new Map<string, Claim>()
  for (const shard of world.shards)
    for (const claim of all<Claim>(world, shard, 'SELECT key, owner_id AS ownerId, state FROM claims')) {
      if (held.has(claim.key)) world.checker.report(`M5: the claim ${claim.key} is there twice`)
      held.set(claim.key, claim)
    }
  const accounts = new Set<string>()
  for (const shard of world.shards)
    for (const { id, email, handle } of all<{ id: string; email: string; handle: string }>(
      world,
      shard,
      'SELECT accounts.id, email, handle FROM accounts JOIN profiles USING (id)',
    )) {
      accounts.add(id)
      for (const key of [claimKey({ kind: 'email', value: email }), claimKey({ kind: 'handle', value: handle })]) {
        const claim = held.get(key)
        if (claim?.ownerId !== id || claim.state !== 'confirmed')
          world.checker.report(`M5: ${id} has no claim on ${email} or ${handle}: ${JSON.stringify(claim)}`)
      }
    }
  for (const { key, ownerId } of held.values())
    if (!accounts.has(ownerId)) world.checker.report(`M5: the claim ${key} is held by ${ownerId}, who isn't there`)
  for (const { userId, handle } of history.accounts)
    if (!accounts.has(userId)) world.checker.report(`M3: the account ${handle} (${userId}) is gone`)
  for (const { userId, email } of history.accounts) {
    // One that is sent twice carries the same id both times.
    const mails = new Set(world.mails.filter(({ to }) => to === email).map(({ messageId }) => messageId))
    if (mails.size !== 1) world.checker.report(`M5: ${mails.size} mails were sent to ${userId}`)
  }
}

const all = <T>(world: World, shard: Shard, sql: string): T[] => world.checker.ask(shard, sql).all() as T[]
