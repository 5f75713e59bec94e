import { expect, test } from 'vitest'
import { isSlow, mutants, slowWorlds, smallest } from '../model/bounds.ts'
import { explore } from '../model/explore.ts'
import { safeguards } from '../model/protocol.ts'

test.each(slowWorlds)('every reachable state of %o is sound', (world) => {
  expect(explore({ ...smallest, ...world }).found).toBeNull()
})

test.each(safeguards.filter(isSlow))('without "%s", the model finds a violation', (safeguard) => {
  const { found } = explore({ ...smallest, ...mutants[safeguard] }, new Set([safeguard]))
  expect(found?.violation).toMatch(/^M\d: /)
})
