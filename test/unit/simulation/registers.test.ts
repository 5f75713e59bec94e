import { describe, expect, test } from 'vitest'
import { newWrite, Register } from '../../simulation/registers.ts'

/** A row that was created at 10 and acknowledged at 11. */
function created() {
  const register = new Register('posts', 'p')
  const creation = newWrite('first')
  register.apply(creation, 'first', 10)
  expect(register.acknowledge(creation, 9, 11)).toBeNull()
  return register
}

describe('what a read may find', () => {
  test('an executed edit with an unknown outcome is not allowed after a later, acknowledged edit', () => {
    const register = created()
    register.apply(newWrite('in doubt'), 'in doubt', 20)
    const later = newWrite('later')
    register.apply(later, 'later', 30)
    register.acknowledge(later, 29, 31)
    expect(register.allowed(register.knownFrom(40, 100, true))).toEqual(new Set(['later']))
    expect(register.value).toBe('later')
  })

  test('an edit with an unknown outcome counts from its execution on, however late it arrives', () => {
    const register = created()
    const held = newWrite('held back')
    const later = newWrite('later')
    register.apply(later, 'later', 30)
    register.acknowledge(later, 29, 31)
    expect(register.allowed(35)).toEqual(new Set(['later']))
    register.apply(held, 'held back', 50)
    expect(register.allowed(45)).toEqual(new Set(['later', 'held back']))
    expect(register.allowed(49)).toEqual(new Set(['later', 'held back']))
    expect(register.allowed(50)).toEqual(new Set(['held back']))
  })

  test('any client, including its own, may miss an unacknowledged write for a lease, but not longer', () => {
    const register = created()
    register.apply(newWrite('in doubt'), 'in doubt', 20)
    expect(register.allowed(register.knownFrom(25, 10, true))).toEqual(new Set(['first', 'in doubt']))
    expect(register.allowed(register.knownFrom(31, 10, false))).toEqual(new Set(['in doubt']))
  })

  test('a client never misses its own acknowledged write, and misses another’s for at most a lease', () => {
    const register = created()
    const edit = newWrite('edited')
    register.apply(edit, 'edited', 20)
    register.acknowledge(edit, 19, 22)
    expect(register.allowed(register.knownFrom(23, 10, true))).toEqual(new Set(['edited']))
    expect(register.allowed(register.knownFrom(23, 10, false))).toEqual(new Set(['first', 'edited']))
  })

  test('a deleted row is missing from the deletion on', () => {
    const register = created()
    register.apply(newWrite(null), null, 20)
    expect(register.allowed(15)).toEqual(new Set(['first', null]))
    expect(register.allowed(20.5)).toEqual(new Set([null]))
    expect(register.values).toBe(1)
  })
})

describe('faults', () => {
  test('an acknowledged write that no shard executed', () => {
    const register = created()
    expect(register.acknowledge(newWrite('lost'), 19, 21)).toContain('was never applied')
  })

  test('an acknowledged deletion may change nothing only if there is no row', () => {
    const register = created()
    expect(register.acknowledge(newWrite(null), 19, 21)).toContain('was never applied')
    register.apply(newWrite(null), null, 30)
    expect(register.acknowledge(newWrite(null), 31, 32)).toBeNull()
  })

  test('a write that is executed twice', () => {
    const register = created()
    const edit = newWrite('edited')
    expect(register.apply(edit, 'edited', 20)).toBeNull()
    expect(register.apply(edit, 'edited', 30)).toContain('applied twice')
  })

  test('a write that was refused, but executed before or after', () => {
    const register = created()
    const early = newWrite('early')
    register.apply(early, 'early', 20)
    expect(register.refuse(early)).toContain('was told that it was not')
    const late = newWrite('late')
    expect(register.refuse(late)).toBeNull()
    expect(register.apply(late, 'late', 30)).toContain('told that nothing was written')
  })

  test('a write that stored a different value', () => {
    expect(created().apply(newWrite('edited'), 'edite', 20)).toContain('"edite"')
  })
})
