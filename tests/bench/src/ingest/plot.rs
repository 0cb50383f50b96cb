//! Figures as SVG: one line for each process, over the size of a record.

use anyhow::{Result, anyhow};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    element::{Circle, PathElement},
    prelude::{IntoDrawingArea as _, IntoLogRange as _, SVGBackend},
    series::LineSeries,
    style::{BLACK, Color as _, Palette as _, Palette99, WHITE},
};

use super::uploads::Series;

/// Width and height.
const SIZE: (u32, u32) = (800, 480);

/// Draws a figure.
pub(super) fn draw(title: &str, unit: &str, sizes: &[f64], series: &Series) -> Result<String> {
    let mut svg = String::new();
    lines(&mut svg, title, unit, sizes, series).map_err(|error| anyhow!("{title}: {error}"))?;
    Ok(svg)
}

fn lines(
    svg: &mut String,
    title: &str,
    unit: &str,
    sizes: &[f64],
    series: &Series,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let first = sizes.first().copied().unwrap_or(1.0);
    let last = sizes.last().copied().unwrap_or(1.0);
    let most = series.values().flatten().copied().fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((first..last).log_scale(), 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("record, KiB")
        .y_desc(unit)
        .x_label_formatter(&|size| format!("{size:.0}"))
        .draw()?;
    for (index, (process, values)) in series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let points = || sizes.iter().copied().zip(values.iter().copied());
        chart
            .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
            .label(process)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_names_its_title_unit_and_processes() {
        let series = Series::from([
            ("oracle".to_owned(), vec![1.0, 2.0]),
            ("contracts".to_owned(), vec![2.0, 2.5]),
        ]);
        let svg = draw("Memory", "MiB", &[1.0, 16.0], &series).unwrap();
        assert!(svg.starts_with("<svg"), "{svg}");
        for text in ["Memory", "MiB", "oracle", "contracts", "polyline"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }
}
