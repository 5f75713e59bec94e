import { type FieldErrors, FormError, TextField } from '../../web/fields.tsx'
import { Spread } from '../../web/layout.tsx'
import { Byline } from '../profiles/byline.tsx'
import type { User } from '../profiles/shapes.ts'
import { SEARCH } from './navigation.tsx'

export type SearchPageProps = {
  q: string
  /** Null before the first search, and if it was refused. */
  found: { items: User[]; next: string | null; partial: boolean } | null
  errors: FieldErrors
}

const People = ({
  q,
  found: { items, next, partial },
}: {
  q: string
  found: NonNullable<SearchPageProps['found']>
}) => (
  <>
    {partial ? (
      <p class="notice notice-bad" role="status">
        Part of the search did not finish in time, so people may be missing. Try again in a moment.
      </p>
    ) : null}
    {items.length > 0 ? (
      <ol class="posts">
        {items.map((user) => (
          <li>
            <article class="post">
              <Byline user={user} />
            </article>
          </li>
        ))}
      </ol>
    ) : next || partial ? null : (
      <p class="empty">No handle or name starts with this text.</p>
    )}
    {next ? (
      <p class="older">
        <a class="button button-quiet" href={`${SEARCH}?${new URLSearchParams({ q, cursor: next })}`}>
          More people
        </a>
      </p>
    ) : null}
  </>
)

export const SearchPage = ({ q, found, errors }: SearchPageProps) => (
  <Spread margin={<h1>Search</h1>}>
    <search>
      <form class="form" method="get" action={SEARCH}>
        <FormError errors={errors} />
        <TextField
          id="q"
          name="q"
          label="Find people"
          hint="The start of a handle or a name."
          value={q}
          error={errors.q ?? errors.cursor}
          autocomplete="off"
          required
        />
        <p>
          <button class="button" type="submit">
            Search
          </button>
        </p>
      </form>
    </search>
    {found ? <People q={q} found={found} /> : null}
  </Spread>
)
