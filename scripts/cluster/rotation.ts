/** The number of failures in a row that take a server out of the rotation, and of passed checks that put it in. */
export interface HealthRule {
  fall: number
  rise: number
}

/** `joined`: in the rotation for the first time. `back`: in it again. `out`: no longer in it. */
export type Change = 'joined' | 'back' | 'out'

interface Member {
  name: string
  isIn: boolean
  hasJoined: boolean
  passedChecks: number
  failedChecks: number
  failedRequests: number
}

/**
 * Decides which server gets the next request: the one in the rotation that was chosen longest ago. So each server has
 * the same share, whatever the order in which servers leave and return. Only checks put a server into the rotation.
 * Failed checks and requests take it out, unless no other server is well. Then the cause is probably something that they
 * share, and it would not help if all of them left.
 */
export class Rotation {
  readonly #rule: HealthRule
  readonly #onChange: (name: string, change: Change) => void
  /** The member chosen longest ago comes first. */
  readonly #members: Member[] = []

  constructor(rule: HealthRule, onChange: (name: string, change: Change) => void) {
    this.#rule = rule
    this.#onChange = onChange
  }

  /** Adds a server, which joins the rotation when it has passed enough checks. */
  add(name: string): void {
    this.#members.push({ name, isIn: false, hasJoined: false, passedChecks: 0, failedChecks: 0, failedRequests: 0 })
  }

  has(name: string): boolean {
    return this.#find(name).isIn
  }

  /**
   * The server for the next request, or null if there is no server besides `except`. Before the first server has joined
   * the rotation, all of them take turns.
   */
  next(except: string | null = null): string | null {
    const others = this.#members.filter(({ name }) => name !== except)
    const chosen = others.find(({ isIn }) => isIn) ?? others[0]
    if (!chosen) return null
    this.#members.splice(this.#members.indexOf(chosen), 1)
    this.#members.push(chosen)
    return chosen.name
  }

  checkPassed(name: string): void {
    const member = this.#find(name)
    member.failedChecks = 0
    if (member.isIn || ++member.passedChecks < this.#rule.rise) return
    const change = member.hasJoined ? 'back' : 'joined'
    member.isIn = true
    member.hasJoined = true
    this.#onChange(name, change)
  }

  checkFailed(name: string): void {
    const member = this.#find(name)
    member.passedChecks = 0
    if (++member.failedChecks >= this.#rule.fall) this.#takeOut(member)
  }

  requestAnswered(name: string): void {
    this.#find(name).failedRequests = 0
  }

  requestFailed(name: string): void {
    const member = this.#find(name)
    // A late failure says nothing about the server that has returned since.
    if (member.isIn && ++member.failedRequests >= this.#rule.fall) this.#takeOut(member)
  }

  #takeOut(member: Member): void {
    const isOtherWell = this.#members.some((other) => other !== member && other.isIn && other.failedChecks === 0)
    if (!member.isIn || !isOtherWell) return
    member.isIn = false
    member.passedChecks = 0
    member.failedRequests = 0
    this.#onChange(member.name, 'out')
  }

  #find(name: string): Member {
    const member = this.#members.find((one) => one.name === name)
    if (!member) throw new Error(`no server "${name}"`)
    return member
  }
}
