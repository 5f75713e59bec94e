/** What all nouns contribute to the tests that have one row per route. */
import type { Fields, Owner, RouteRow, SignedInUser, TestNoun } from './nouns.ts'

export interface NounRoute extends RouteRow {
  route: string
  method: string
  pattern: string
  isApi: boolean
}

const files = import.meta.glob<{ noun: TestNoun }>('./nouns/*.ts', { eager: true })

export const testNouns: TestNoun[] = Object.values(files).map(({ noun }) => noun)

export const nounRoutes: NounRoute[] = testNouns.flatMap(({ routes }) =>
  Object.entries(routes).map(([route, row]) => {
    const [method = '', pattern = ''] = route.split(' ')
    return { ...row, route, method, pattern, isApi: pattern.startsWith('/api/') }
  }),
)

/** A path as OpenAPI writes it: `{id}` for `:id`. */
export const documentedPath = (pattern: string): string => pattern.replaceAll(/:(\w+)/g, '{$1}')

/** A user with all entities that the nouns' rows need. */
export async function ownerOf(user: SignedInUser): Promise<Owner> {
  const created: Record<string, string> = {}
  for (const noun of testNouns) Object.assign(created, await noun.create?.(user))
  return { ...user, created }
}

/** The route's body, for a client of tests. */
export const bodyOf = ({ file, body }: RouteRow): { body?: Uint8Array<ArrayBuffer>; json?: Fields } =>
  file ? { body: file() } : body ? { json: body(0) } : {}

export const pathOf = ({ path, pattern }: NounRoute, owner: Owner): string => path?.(owner) ?? pattern
