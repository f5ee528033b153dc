-- The original design as it was written, beside ours in a schema of its own: one view over all drafts by
-- LEFT JOIN, and its indexes. Changed is only what PostgreSQL forces: a cast from text to date is not
-- immutable, and one unreadable value would end a load, so our parsers stand in for the casts.

create schema literal;

create table literal.pfa_mirror (
    id                    uuid primary key,
    organization_id       text not null,
    data                  jsonb not null,
    version               int not null default 1,
    pems_version          text,
    last_synced_at        timestamptz,
    sync_batch_id         uuid,
    pfa_id                text    generated always as (data->>'pfaId') stored,
    area_silo             text    generated always as (data->>'areaSilo') stored,
    category              text    generated always as (data->>'category') stored,
    class                 text    generated always as (data->>'class') stored,
    source                text    generated always as (data->>'source') stored,
    dor                   text    generated always as (data->>'dor') stored,
    is_actualized         boolean generated always as (pfa_flag(data->>'isActualized')) stored,
    is_discontinued       boolean generated always as (pfa_flag(data->>'isDiscontinued')) stored,
    is_funds_transferable boolean generated always as (pfa_flag(data->>'isFundsTransferable')) stored,
    has_plan              boolean generated always as (pfa_flag(data->>'hasPlan')) stored,
    has_actuals           boolean generated always as (pfa_flag(data->>'hasActuals')) stored,
    monthly_rate          numeric generated always as (pfa_amount(data->>'monthlyRate')) stored,
    purchase_price        numeric generated always as (pfa_amount(data->>'purchasePrice')) stored,
    manufacturer          text    generated always as (data->>'manufacturer') stored,
    model                 text    generated always as (data->>'model') stored,
    original_start        date    generated always as (pfa_date(data->>'originalStart')) stored,
    original_end          date    generated always as (pfa_date(data->>'originalEnd')) stored,
    forecast_start        date    generated always as (pfa_date(data->>'forecastStart')) stored,
    forecast_end          date    generated always as (pfa_date(data->>'forecastEnd')) stored,
    actual_start          date    generated always as (pfa_date(data->>'actualStart')) stored,
    actual_end            date    generated always as (pfa_date(data->>'actualEnd')) stored,
    contract              text    generated always as (data->>'contract') stored,
    equipment             text    generated always as (data->>'equipment') stored
);
insert into literal.pfa_mirror (id, organization_id, data, pems_version, last_synced_at, sync_batch_id)
select id, organization_id, data, pems_version, last_synced_at, sync_batch_id from pfa_mirror;
alter table literal.pfa_mirror add unique (organization_id, pfa_id);
create index idx_pfa_mirror_org_category_source on literal.pfa_mirror (organization_id, category, source) where is_discontinued = false;
create index idx_pfa_mirror_forecast_dates on literal.pfa_mirror (organization_id, forecast_start, forecast_end) where is_discontinued = false;
create index idx_pfa_mirror_data_gin on literal.pfa_mirror using gin (data jsonb_path_ops);

create table literal.pfa_modification (
    id              uuid primary key,
    organization_id text not null,
    mirror_id       uuid not null references literal.pfa_mirror,
    user_id         text not null,
    session_id      uuid,
    sync_state      text not null,
    delta           jsonb not null,
    modified_fields text[] not null,
    base_version    int not null,
    current_version int,
    committed_at    timestamptz
);
create index idx_pfa_modification_mirror_session on literal.pfa_modification (mirror_id, session_id, sync_state);
create index idx_pfa_modification_user_session on literal.pfa_modification (user_id, session_id, sync_state);
create index idx_pfa_modification_sync_state on literal.pfa_modification (organization_id, sync_state, committed_at)
    where sync_state in ('committed', 'conflict');

create view literal.pfa_merged_live as
select m.id as mirror_id,
       m.organization_id,
       m.pfa_id,
       coalesce(m.data || mod.delta, m.data)                                 as data,
       coalesce(mod.delta->>'areaSilo', m.area_silo)                         as area_silo,
       coalesce(mod.delta->>'category', m.category)                          as category,
       coalesce(mod.delta->>'class', m.class)                                as class,
       coalesce(mod.delta->>'source', m.source)                              as source,
       coalesce(mod.delta->>'dor', m.dor)                                    as dor,
       coalesce((mod.delta->>'isActualized')::boolean, m.is_actualized)      as is_actualized,
       coalesce((mod.delta->>'monthlyRate')::numeric, m.monthly_rate)        as monthly_rate,
       coalesce((mod.delta->>'purchasePrice')::numeric, m.purchase_price)    as purchase_price,
       m.original_start,
       m.original_end,
       coalesce((mod.delta->>'forecastStart')::date, m.forecast_start)       as forecast_start,
       coalesce((mod.delta->>'forecastEnd')::date, m.forecast_end)           as forecast_end,
       coalesce((mod.delta->>'actualStart')::date, m.actual_start)           as actual_start,
       coalesce((mod.delta->>'actualEnd')::date, m.actual_end)               as actual_end
  from literal.pfa_mirror m
  left join literal.pfa_modification mod on m.id = mod.mirror_id and mod.sync_state in ('draft', 'committed')
 where not coalesce((mod.delta->>'isDiscontinued')::boolean, m.is_discontinued, false);

create materialized view literal.pfa_kpi_summary as
with cost_calculations as (
    select organization_id, category, source, dor,
           case when source = 'Purchase' then purchase_price else (original_end - original_start) / 30.44 * monthly_rate end as plan_cost,
           case when source = 'Purchase' then purchase_price else (forecast_end - forecast_start) / 30.44 * monthly_rate end as forecast_cost,
           case when not is_actualized then 0
                when source = 'Purchase' then purchase_price else (actual_end - actual_start) / 30.44 * monthly_rate end     as actual_cost
      from literal.pfa_merged_live
)
select organization_id, category, source, dor,
       sum(plan_cost) as total_plan_cost, sum(forecast_cost) as total_forecast_cost, sum(actual_cost) as total_actual_cost,
       sum(forecast_cost - plan_cost) as total_variance, count(*) as record_count
  from cost_calculations
 group by organization_id, category, source, dor;
create index idx_pfa_kpi_summary_org on literal.pfa_kpi_summary (organization_id);
create index idx_pfa_kpi_summary_org_category on literal.pfa_kpi_summary (organization_id, category);
-- The concurrent refresh that the design wants needs these two.
create unique index pfa_kpi_summary_key on literal.pfa_kpi_summary (organization_id, category, source, dor) nulls not distinct;

create materialized view literal.pfa_timeline_bounds as
select m.organization_id,
       min(forecast_start) as forecast_start, max(forecast_end) as forecast_end,
       min(original_start) as plan_start, max(original_end) as plan_end,
       count(*) as total_records
  from literal.pfa_mirror m
  left join literal.pfa_modification mod on m.id = mod.mirror_id
 group by m.organization_id;
create unique index pfa_timeline_bounds_key on literal.pfa_timeline_bounds (organization_id);
