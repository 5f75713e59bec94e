import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { moverTransitions } from '../../../src/resharding/move-records.ts'
import { isBeforeCommit, isOver, moveStates } from '../../../src/resharding/record.ts'

const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/resharding.md'), 'utf8')
const diagram = /```mermaid\n([\s\S]*?)```/.exec(page)![1]!
const drawn = [...diagram.matchAll(/^ {2}(\S+) --> ([^\s:]+)/gm)].map(
  ([, from, to]) => `${from!.replace('_', '-')} → ${to!.replace('_', '-')}`,
)

test('the diagram in docs/resharding.md has exactly the transitions that a move can make', () => {
  const byMover = Object.entries(moverTransitions).flatMap(([from, states]) => states.map((to) => `${from} → ${to}`))
  const begun = moveStates.filter((state) => state !== 'planned' && isBeforeCommit({ state }))
  expect(drawn.toSorted()).toEqual(
    [
      '[*] → planned',
      ...byMover,
      'settling → preparing',
      'planned → aborted',
      ...begun.map((state) => `${state} → undoing`),
      ...['aborted', 'failed', 'settling'].map((state) => `undoing → ${state}`),
      ...moveStates.filter((state) => isOver({ state })).map((state) => `${state} → [*]`),
    ].toSorted(),
  )
})
