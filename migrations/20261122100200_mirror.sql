-- The mirror: rows read from PEMS, never changed by users.
--
-- `data` holds the record in canonical form (typed values, every key of the dictionary); the
-- generated columns repeat what is filtered, sorted and summed.

create function pfa_search_text(data jsonb) returns text
language sql immutable parallel safe
return lower(
    coalesce(data->>'pfaId', '')        || e'\n' || coalesce(data->>'manufacturer', '') || e'\n' ||
    coalesce(data->>'model', '')        || e'\n' || coalesce(data->>'equipment', '')    || e'\n' ||
    coalesce(data->>'contract', '')     || e'\n' || coalesce(data->>'category', '')     || e'\n' ||
    coalesce(data->>'class', ''));
comment on function pfa_search_text(jsonb) is
    'What the text search looks at: id, make, model, equipment, contract, category, class; lower case, a line each.';

create table pfa_mirror (
    organization_id       text collate "C" not null,
    id                    uuid not null default gen_random_uuid(),
    data                  jsonb  not null,
    version               bigint not null default 1,
    pems_version          text,
    last_synced_at        timestamptz not null default now(),
    sync_batch_id         uuid,

    pfa_id                text    collate "C" not null generated always as (data->>'pfaId') stored,
    area_silo             text    collate "C" generated always as (data->>'areaSilo') stored,
    category              text    collate "C" generated always as (data->>'category') stored,
    class                 text    collate "C" generated always as (data->>'class') stored,
    source                text    collate "C" generated always as (case when data->>'source' in ('Rental', 'Purchase') then data->>'source' end) stored,
    dor                   text    collate "C" generated always as (case when data->>'dor' in ('BEO', 'PROJECT') then data->>'dor' end) stored,
    is_actualized         boolean not null generated always as (coalesce(pfa_flag(data->>'isActualized'), false)) stored,
    is_discontinued       boolean not null generated always as (coalesce(pfa_flag(data->>'isDiscontinued'), false)) stored,
    is_funds_transferable boolean not null generated always as (coalesce(pfa_flag(data->>'isFundsTransferable'), false)) stored,
    has_plan              boolean not null generated always as (coalesce(pfa_flag(data->>'hasPlan'), false)) stored,
    has_actuals           boolean not null generated always as (coalesce(pfa_flag(data->>'hasActuals'), false)) stored,
    monthly_rate          numeric generated always as (pfa_amount(data->>'monthlyRate')) stored,
    purchase_price        numeric generated always as (pfa_amount(data->>'purchasePrice')) stored,
    manufacturer          text    collate "C" generated always as (data->>'manufacturer') stored,
    model                 text    collate "C" generated always as (data->>'model') stored,
    contract              text    collate "C" generated always as (data->>'contract') stored,
    equipment             text    collate "C" generated always as (data->>'equipment') stored,
    original_start        date    generated always as (pfa_date(data->>'originalStart')) stored,
    original_end          date    generated always as (pfa_date(data->>'originalEnd')) stored,
    forecast_start        date    generated always as (pfa_date(data->>'forecastStart')) stored,
    forecast_end          date    generated always as (pfa_date(data->>'forecastEnd')) stored,
    actual_start          date    generated always as (pfa_date(data->>'actualStart')) stored,
    actual_end            date    generated always as (pfa_date(data->>'actualEnd')) stored,

    constraint pfa_mirror_pkey primary key (organization_id, id),
    constraint pfa_mirror_pfa_id_key unique (organization_id, pfa_id),
    constraint pfa_mirror_organization_fkey foreign key (organization_id) references organizations (organization_id),
    constraint pfa_mirror_data_is_object check (jsonb_typeof(data) = 'object' and not data ? '_meta'),
    constraint pfa_mirror_version_is_positive check (version > 0)
);
comment on table pfa_mirror is 'Records of PEMS, one row per organization and pfaId; written by sync and import only.';
comment on column pfa_mirror.version is 'Counts real changes of the record; a re-read of identical data leaves it alone.';
comment on constraint pfa_mirror_pfa_id_key on pfa_mirror is 'One record by its natural key: GET /orgs/{org}/records/{pfaId}; sort by pfaId.';

-- Each index is named after the reading that it serves. The tiebreak of every order is the id.

create index pfa_mirror_grid on pfa_mirror
    (organization_id, category, source, forecast_start, id, forecast_end) where not is_discontinued;
comment on index pfa_mirror_grid is
    'The grid page by category and source in order of forecastStart: what is sorted and ranged is in the key, so a page reads its own rows only.';

create index pfa_mirror_timeline on pfa_mirror
    (organization_id, forecast_start, id, forecast_end) where not is_discontinued;
comment on index pfa_mirror_timeline is
    'The grid page in its default order (sort=forecastStart), and the timeline viewport (overlaps).';

create index pfa_mirror_forecast_end on pfa_mirror (organization_id, forecast_end, id) where not is_discontinued;
comment on index pfa_mirror_forecast_end is 'sort=forecastEnd, forecastEndFrom/To.';

create index pfa_mirror_original_start on pfa_mirror (organization_id, original_start, id) where not is_discontinued;
comment on index pfa_mirror_original_start is 'sort=originalStart.';

create index pfa_mirror_original_end on pfa_mirror (organization_id, original_end, id) where not is_discontinued;
comment on index pfa_mirror_original_end is 'sort=originalEnd.';

create index pfa_mirror_actual_start on pfa_mirror (organization_id, actual_start, id) where not is_discontinued;
comment on index pfa_mirror_actual_start is 'sort=actualStart; the many records without one come last, by id.';

create index pfa_mirror_actual_end on pfa_mirror (organization_id, actual_end, id) where not is_discontinued;
comment on index pfa_mirror_actual_end is 'sort=actualEnd; the many records without one come last, by id.';

create index pfa_mirror_monthly_rate on pfa_mirror (organization_id, monthly_rate, id) where not is_discontinued;
comment on index pfa_mirror_monthly_rate is 'sort=-monthlyRate, monthlyRateMin/Max.';

create index pfa_mirror_purchase_price on pfa_mirror (organization_id, purchase_price, id) where not is_discontinued;
comment on index pfa_mirror_purchase_price is 'sort=-purchasePrice, purchasePriceMin/Max.';

create index pfa_mirror_class on pfa_mirror (organization_id, class, forecast_start, id) where not is_discontinued;
comment on index pfa_mirror_class is 'The grid page by class in order of forecastStart; sort=class.';

create index pfa_mirror_make on pfa_mirror (organization_id, manufacturer, model, forecast_start, id) where not is_discontinued;
comment on index pfa_mirror_make is 'The grid page by manufacturer (and model) in order of forecastStart; sort=manufacturer,model.';

create index pfa_mirror_area on pfa_mirror (organization_id, area_silo, forecast_start, id) where not is_discontinued;
comment on index pfa_mirror_area is 'The grid page by areaSilo in order of forecastStart; sort=areaSilo.';

create index pfa_mirror_actualized on pfa_mirror (organization_id, forecast_start, id)
    where is_actualized and not is_discontinued;
comment on index pfa_mirror_actualized is 'status=actualized and isActualized=true in order of forecastStart.';

create index pfa_mirror_funds_transferable on pfa_mirror (organization_id, forecast_start, id)
    where is_funds_transferable and not is_discontinued;
comment on index pfa_mirror_funds_transferable is 'status=fundsTransferable and isFundsTransferable=true in order of forecastStart.';

create index pfa_mirror_discontinued on pfa_mirror (organization_id, forecast_start, id) where is_discontinued;
comment on index pfa_mirror_discontinued is 'isDiscontinued=true and status=discontinued in order of forecastStart.';

create index pfa_mirror_containment on pfa_mirror using gin (organization_id, data jsonb_path_ops);
comment on index pfa_mirror_containment is 'contains={…}: JSONB containment within an organization.';

create index pfa_mirror_text on pfa_mirror using gin (organization_id, pfa_search_text(data) gin_trgm_ops);
comment on index pfa_mirror_text is 'q=…: substrings of id, make, model, equipment, contract, category and class, by trigrams.';
