import { parsed } from '../../cli/load/answer-body.ts'
import type { Ended } from '../../cli/load/client.ts'
import { ownerFor } from '../../cli/load/draws.ts'
import type { Finding, LoadNoun, LoadRun, Person, Reader } from '../../cli/load/noun.ts'
import { findMissing } from '../../cli/load/oracle.ts'
import { TextHistory } from '../../cli/load/text-history.ts'
import { shownText } from '../../cli/load/texts.ts'

export const operator: LoadNoun = (run) => {
  const profiles = new ProfileRequests(run)
  return {
    reads: [
      {
        name: 'read profile',
        weight: 15,
        draw(reader, random) {
          const person = ownerFor(reader, random, run.people)
          return () => profiles.read(reader, person)
        },
      },
    ],
    writes: [
      {
        name: 'edit profile',
        weight: 10,
        draw: (person) => (profiles.bioOf(person).rests ? null : () => profiles.edit(person)),
      },
    ],
    thing: {
      name: 'profile',
      readBack: (reader) => ({
        count: run.people.length,
        checks: run.people.map((person) => () => profiles.check(reader, person)),
      }),
    },
  }
}

/** A run's requests for profiles. The handle is the person's name, and the bio is the text that changes. */
class ProfileRequests {
  readonly #run: LoadRun
  readonly #bios = new Map<Person, TextHistory>()

  constructor(run: LoadRun) {
    this.#run = run
  }

  bioOf(person: Person): TextHistory {
    const bio = this.#bios.get(person) ?? new TextHistory(this.#run.clock)
    this.#bios.set(person, bio)
    return bio
  }

  edit(person: Person): Promise<Ended> {
    const { texts } = this.#run
    const number = texts.nextNumber()
    const json = { bio: texts.textOf(number) }
    return this.bioOf(person).write(number, () => person.client.request('PATCH', '/api/v1/me', { json }))
  }

  /** A user's own profile must show every write acknowledged before the read. */
  async read(reader: Person, person: Person): Promise<Ended> {
    const { floor } = this.bioOf(person)
    const ended = await reader.client.request('GET', pathOf(person))
    if (ended.outcome !== 'acknowledged' || reader !== person) return ended
    const { isRight, number } = this.#judge(person, ended, floor)
    this.#run.sightings.sawOwn(isRight, `GET ${person.name}: ${shownText(number)}`)
    return ended
  }

  async check(reader: Reader, person: Person): Promise<Finding[]> {
    const about = `profile ${person.name}`
    const ended = await reader.get(pathOf(person))
    const missing = findMissing(about, ended)
    if (missing) return [missing]
    const { isRight, number, text } = this.#judge(person, ended)
    if (isRight) return []
    const what = `${about} has ${shownText(number, text)}; acknowledged was text ${this.bioOf(person).acknowledged}`
    return [{ fault: 'lost', about, what }]
  }

  /** A bio is right if it has an allowed text, or if it is empty and no write was acknowledged. */
  #judge(person: Person, { body }: Ended, floor?: number) {
    const bio = this.bioOf(person)
    const text = parsed<{ user?: { bio?: unknown } }>(body).user?.bio
    const shown = typeof text === 'string' ? text : null
    const number = this.#run.texts.numberIn(shown)
    return { isRight: bio.allows(number, floor) && (number !== null || shown === ''), number, text: shown }
  }
}

const pathOf = ({ name }: Person): string => `/api/v1/users/${name}`
