/** What all nouns bring to the tests that have a row for each route. */
import type { Owner, RouteRow, SignedInUser, TestNoun } from './nouns.ts'

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

/** With everything that the nouns' rows ask for. */
export async function ownerOf(user: SignedInUser): Promise<Owner> {
  const created: Record<string, string> = {}
  for (const noun of testNouns) Object.assign(created, await noun.create?.(user))
  return { ...user, created }
}

export const pathOf = ({ path, pattern }: NounRoute, owner: Owner): string => path?.(owner) ?? pattern
