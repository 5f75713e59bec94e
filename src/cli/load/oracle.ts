import { Client, type Clock, type Ended, type Tools } from './client.ts'
import type { Ledger } from './ledger.ts'
import type { Person, Post } from './people.ts'
import { bioOf, listedPosts, type ReadPost, textOfPost } from './reading.ts'
import { numberIn } from './texts.ts'

const READERS = 8
const PAGE_ITEMS = 100

// A replica may be behind, and a server that was away come back.
const SETTLE_MS = 75_000
const PAUSE_MS = 2_000

/**
 * `lost`: acknowledged, and not there, or older. `doubled`: one write there twice. `unexpected`: what nobody has sent, or
 * what was refused. `unread`: nobody has answered, so that nothing is known.
 */
export type Fault = 'lost' | 'doubled' | 'unexpected' | 'unread'

export interface Finding {
  fault: Fault
  /** What it is about: several findings about one thing count once. */
  about: string
  what: string
}

export interface Verdict {
  posts: number
  profiles: number
  findings: Finding[]
  /** What was wrong at first, and right when it was read again. */
  late: Finding[]
}

export interface Oracle {
  base: URL
  tools: Tools
  run: string
  people: Person[]
  ledger: Ledger<Person>
  onProgress(done: number, of: number): void
}

/** What a check looks at; it is made again while what is wrong may only be late. */
type Check = () => Promise<Finding[]>

/**
 * Reads back all that was acknowledged, by clients that have no token: each post by its id, each person's list of posts
 * from end to end, and each profile. What is wrong is read again for 75 s.
 */
export async function readBack({ base, tools, run, people, ledger, onProgress }: Oracle): Promise<Verdict> {
  const checks: Check[] = []
  const reader = new Reader(base, tools)
  for (const person of people) {
    checks.push(() => checkProfile(reader, run, person))
    checks.push(() => checkList(reader, run, person, ledger))
    for (const post of person.posts) checks.push(() => checkPost(reader, run, post))
  }
  const found = await untilSettled(checks, reader, tools.clock, onProgress)
  return { posts: ledger.posts.length, profiles: people.length, ...found }
}

async function untilSettled(
  checks: Check[],
  reader: Reader,
  clock: Clock,
  onProgress: Oracle['onProgress'],
): Promise<Pick<Verdict, 'findings' | 'late'>> {
  let open = checks
  const before: Finding[] = []
  for (let settledAt: number | null = null; ; await clock.sleep(PAUSE_MS)) {
    reader.isSilent = false
    const found = await runChecks(open, (done) => onProgress(checks.length - open.length + done, checks.length))
    const wrong = open.filter((_, index) => found[index]!.length > 0)
    const findings = found.flat()
    settledAt ??= clock.now() + SETTLE_MS
    if (!findings.some(({ fault }) => fault !== 'doubled') || clock.now() >= settledAt)
      return { findings, late: lateOf(before, findings) }
    before.push(...findings)
    open = wrong
  }
}

/** What nobody answered before isn't late: nothing was known of it. */
function lateOf(before: Finding[], findings: Finding[]): Finding[] {
  const wrong = new Set(findings.map(({ about }) => about))
  return before.filter(({ fault, about }) => fault !== 'unread' && !wrong.has(about))
}

/** Eight at a time; resolves to the results in the order of the checks. */
async function runChecks(checks: Check[], onDone: (done: number) => void): Promise<Finding[][]> {
  const found: Finding[][] = []
  let next = 0
  let done = 0
  const work = async () => {
    for (let index = next++; index < checks.length; index = next++) {
      found[index] = await checks[index]!()
      onDone(++done)
    }
  }
  await Promise.all(Array.from({ length: READERS }, work))
  return found
}

async function checkPost(reader: Reader, run: string, post: Post): Promise<Finding[]> {
  const about = `post ${post.id}`
  const ended = await reader.get(`/api/v1/posts/${post.id}`)
  if (ended.status === 404) return [{ fault: 'lost', about, what: `${about} (text ${post.number}): not found` }]
  if (ended.outcome !== 'acknowledged') return [unread(about, ended)]
  return checkText(about, run, post, textOfPost(ended.body)?.text)
}

function checkText(about: string, run: string, post: Post, text: string | undefined): Finding[] {
  const number = numberIn(run, text ?? '')
  if (number !== null && post.text.allows(number)) return []
  const isForeign = number === null || !post.text.knows(number)
  const what = `${about} has ${shown(number, text)}; acknowledged was text ${post.text.acknowledged}`
  return [{ fault: isForeign ? 'unexpected' : 'lost', about, what }]
}

const shown = (number: number | null, text: string | null | undefined): string =>
  number === null ? `another text: ${text?.slice(0, 80)}` : `text ${number}`

async function checkProfile(reader: Reader, run: string, { handle, bio }: Person): Promise<Finding[]> {
  const about = `profile ${handle}`
  const ended = await reader.get(`/api/v1/users/${handle}`)
  if (ended.status === 404) return [{ fault: 'lost', about, what: `${about}: not found` }]
  if (ended.outcome !== 'acknowledged') return [unread(about, ended)]
  const text = bioOf(ended.body)
  const number = numberIn(run, text ?? '')
  if (bio.allows(number) && (number !== null || text === '')) return []
  const what = `${about} has ${shown(number, text)}; acknowledged was text ${bio.acknowledged}`
  return [{ fault: 'lost', about, what }]
}

/** All of the list: each acknowledged post once, one of unknown outcome once at most, and nothing else. */
async function checkList(reader: Reader, run: string, person: Person, ledger: Ledger<Person>): Promise<Finding[]> {
  const items: ReadPost[] = []
  const passed = new Set<string>()
  // A list that comes back to where it was would never end; what it shows twice is found out below.
  for (let cursor: string | null = ''; cursor !== null && !passed.has(cursor); ) {
    passed.add(cursor)
    const path = `/api/v1/users/${person.handle}/posts?limit=${PAGE_ITEMS}&cursor=${encodeURIComponent(cursor)}`
    const ended = await reader.get(path)
    const page = ended.outcome === 'acknowledged' ? listedPosts(ended.body) : null
    if (!page) return [unread(`list of ${person.handle}`, ended)]
    items.push(...page.items)
    cursor = page.next
  }
  return compareList(items, run, person, ledger)
}

function compareList(items: ReadPost[], run: string, person: Person, ledger: Ledger<Person>): Finding[] {
  const findings: Finding[] = []
  const known = new Map(person.posts.map((post) => [post.id, post]))
  const timesSeen = new Map<Post, number>()
  for (const { id, text } of items) {
    const about = `post ${id}`
    const number = numberIn(run, text)
    const sent = known.get(id) ?? (number === null ? undefined : ledger.sentAs(number))
    if (!sent || sent.author !== person || (sent.id === null && !sent.text.allows(number))) {
      const what = `${about} of ${person.handle} was not written: ${shown(number, text)}`
      findings.push({ fault: 'unexpected', about, what })
      continue
    }
    const times = (timesSeen.get(sent) ?? 0) + 1
    timesSeen.set(sent, times)
    if (times > 1)
      findings.push({ fault: 'doubled', about: `text ${sent.number}`, what: `text ${sent.number}: there as ${id} too` })
    else if (sent.id === id) findings.push(...checkText(about, run, sent, text))
  }
  for (const post of person.posts) {
    if (timesSeen.has(post)) continue
    const about = `post ${post.id}`
    findings.push({ fault: 'lost', about, what: `${about} (text ${post.number}): not in ${person.handle}’s list` })
  }
  return findings
}

const unread = (about: string, { reason }: Ended): Finding => ({ fault: 'unread', about, what: `${about}: ${reason}` })

/** Anybody. That nobody answers for 15 s is found out once a round, not once a post. */
class Reader {
  readonly #base: URL
  readonly #tools: Tools
  isSilent = false

  constructor(base: URL, tools: Tools) {
    this.#base = base
    this.#tools = tools
  }

  async get(path: string): Promise<Ended> {
    if (this.isSilent) return SILENT
    const ended = await new Client(this.#base, this.#tools).request('GET', path)
    if (ended.status === 0) this.isSilent = true
    return ended
  }
}

const SILENT: Ended = {
  outcome: 'unknown',
  status: 0,
  body: '',
  reason: 'nobody answers',
  tries: 0,
  wasUncertain: false,
  isGone: true,
}
