//! The library's numbers: against those of the official code and of other tools, against laws, against finite differences.

mod annotations_pycocotools;
mod golden;
mod golden_bilateral;
mod golden_families;
mod golden_gnn;
mod golden_grapl;
mod golden_instances;
mod golden_kless;
mod golden_metrics;
mod golden_odd_coco;
mod golden_pixels;
mod golden_region_measures;
mod golden_regions;
mod golden_superpixels;
mod golden_vit;
mod objectives;
mod properties;
mod rle_pycocotools;
