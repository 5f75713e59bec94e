import { expect } from 'vitest'
import { bearer } from '../../support/http-client.ts'
import type { CrewMember, NounCrew, NounWriter, QueryAll } from '../../support/noun-crews.ts'

type Acknowledged = Record<'follows' | 'unfollows', number>

export const createCrew = (): NounCrew => new FollowsCrew()

class FollowsCrew implements NounCrew {
  readonly acknowledged: Acknowledged = { follows: 0, unfollows: 0 }
  readonly #followers: Follower[] = []

  join(member: CrewMember): NounWriter {
    const follower = new Follower(member, this.#followers, this.acknowledged)
    this.#followers.push(follower)
    return follower
  }

  /** Whom each user follows. */
  async expectRead(url: URL): Promise<void> {
    for (const { member, following } of this.#followers) {
      const answer = await bearer(url).get(`/api/v1/users/${member.handle}/following?limit=100`)
      expect(answer.status, answer.text).toBe(200)
      const { items } = answer.json<{ items: { handle: string }[] }>()
      expect(items.map(({ handle }) => handle).toSorted(), member.handle).toEqual([...following].toSorted())
    }
  }

  expectStored(all: QueryAll): void {
    expect(edgesIn(all, 'follows'), 'edges').toEqual(this.#wanted())
    expectCounts(all, 'following', 'SELECT follower_id AS id FROM follows WHERE ended_at IS NULL')
  }

  /** Both sides agree. */
  expectDrained(all: QueryAll): void {
    expect(edgesIn(all, 'followers'), 'the other sides').toEqual(this.#wanted())
    expectCounts(all, 'followers', 'SELECT followee_id AS id FROM followers WHERE ended_at IS NULL')
  }

  #wanted(): string[] {
    const idOf = new Map(this.#followers.map(({ member }) => [member.handle, member.id()]))
    return this.#followers
      .flatMap(({ member, following }) => [...following].map((handle) => `${member.id()} ${idOf.get(handle)}`))
      .toSorted()
  }
}

const edgesIn = (all: QueryAll, table: string): string[] =>
  all<{ edge: string }>(`SELECT follower_id || ' ' || followee_id AS edge FROM ${table} WHERE ended_at IS NULL`)
    .map(({ edge }) => edge)
    .toSorted()

function expectCounts(all: QueryAll, name: 'followers' | 'following', sql: string): void {
  const counted: Record<string, number> = {}
  for (const { id } of all<{ id: string }>(sql)) counted[id] = (counted[id] ?? 0) + 1
  const stored = all<{ id: string; n: number }>(`SELECT id, ${name} AS n FROM follow_counts WHERE ${name} <> 0`)
  expect(Object.fromEntries(stored.map(({ id, n }) => [id, n])), name).toEqual(counted)
}

class Follower implements NounWriter {
  readonly member: CrewMember
  /** The handles of the users that this one follows. */
  readonly following = new Set<string>()
  readonly #all: Follower[]
  readonly #acknowledged: Acknowledged

  constructor(member: CrewMember, all: Follower[], acknowledged: Acknowledged) {
    this.member = member
    this.#all = all
    this.#acknowledged = acknowledged
  }

  async step(): Promise<void> {
    const { client, random, handle, violated } = this.member
    const others = this.#all.map(({ member }) => member).filter((other) => other.handle !== handle && other.id() !== '')
    const other = others[Math.floor(random.fraction() * others.length)]
    if (!other) return
    const method = this.following.has(other.handle) ? 'DELETE' : 'PUT'
    const { answer } = await client.insist(method, `/api/v1/users/${other.handle}/follow`)
    if (answer.status !== 204) return violated(`${method} ${other.handle}`, answer.status, answer.text)
    if (method === 'PUT') this.following.add(other.handle)
    else this.following.delete(other.handle)
    this.#acknowledged[method === 'PUT' ? 'follows' : 'unfollows']++
  }
}
