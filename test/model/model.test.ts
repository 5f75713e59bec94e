import { describe, expect, test } from 'vitest'
import { isSlow, mutants, quickWorlds, smallest } from './bounds.ts'
import { explore } from './explore.ts'
import { safeguards } from './protocol.ts'

describe('with every safeguard in place, every reachable state is sound', () => {
  test.each(quickWorlds)('%o', (world) => {
    const { found, states } = explore({ ...smallest, ...world })
    expect(found).toBeNull()
    expect(states).toBeGreaterThan(1_000)
  })
})

describe('without it, the model finds what goes wrong', () => {
  test.each(safeguards.filter((safeguard) => !isSlow(safeguard)))('%s', (safeguard) => {
    const { found } = explore({ ...smallest, ...mutants[safeguard] }, new Set([safeguard]))
    expect(found?.violation).toMatch(/^M\d: /)
  })
})
