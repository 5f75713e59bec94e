import type { Move, MovePage, OneMove } from '../../console/shapes.ts'
import { present } from '../../core/present.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { pagesOf } from '../shell/pages.ts'

const PAGE_MOVES = 100

export const MOVES = '/operator/v1/moves'
export const moveAt = (id: string): string => `${MOVES}/${encodeURIComponent(id)}`

/** The moves, newest first, a page at a time. */
export const movePages = (connection: Pick<Connection, 'get'>): AsyncGenerator<MovePage> =>
  pagesOf((cursor) => {
    const after = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    return connection.get<MovePage>(`${MOVES}?limit=${PAGE_MOVES}${after}`)
  })

/** Reads moves again. Several are read from the list: one request a page, however many there are. */
export const reader =
  (connection: Connection) =>
  async (ids: string[]): Promise<Move[]> => {
    const [only] = ids
    if (only !== undefined && ids.length === 1) return [(await connection.get<OneMove>(moveAt(only))).move]
    const found = new Map<string, Move>()
    for await (const { items } of movePages(connection)) {
      for (const move of items) found.set(move.id, move)
      if (ids.every((id) => found.has(id))) break
    }
    return ids.map((id) => present(found.get(id), `the move ${id}`))
  }

export const moveOperand = { name: 'ID', help: 'a move’s id, as moves list has it' }

/** Asks for one change of a move, and prints what `textOf` says of the move as it is then. */
export const steering =
  (verb: string, textOf: (move: Move) => string) =>
  async (connect: () => Connection, [id]: [string]): Promise<Output> => {
    const answer = await connect().post<OneMove>(`${moveAt(id)}/${verb}`)
    return { json: answer, text: textOf(answer.move) }
  }
